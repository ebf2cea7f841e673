"""The model that an evaluation attacks, as another tool would meet it: without the harness's refusals."""

from __future__ import annotations

from pathlib import Path

from robench import Attack, Classifier, Evaluated, RobenchError, ThreatModel
from robench.api import spec_from
from robench.contracts.components import Defense, Model
from robench.contracts.trap import Evaluation
from robench.pipeline.workbench import Options, Workbench
from robench.plan.cell import Cell, type_of
from robench.plan.spec import plan
from robench.plugin.catalog import Catalog


def evaluated(evaluation: Evaluation, known: Catalog, store: Path, count: int) -> Evaluated | None:
    """Return the white-box attack, what it meets and the first ``count`` test images; None where no data is served."""
    cells = plan(spec_from(**evaluation.asked()), "cpu", known)
    cell = next(cell for cell in reversed(cells) if cell.surrogate is None)
    workbench = Workbench(Options(store=store, device="cpu", prepared=False), "cpu")
    try:
        test = workbench.data(cell).test
    except RobenchError:
        return None
    task = workbench.task(cell, "craft").replace(
        threat_model=ThreatModel(cell.threat.norm, cell.threat.eps), stop_early=True
    )
    try:
        defended = workbench.defended(cell)
        model, target = defended.fitted.model, defended.adaptive
    except RobenchError:
        model = target = bare(cell, workbench)
    attack: Attack = type_of(cell.attack, Attack)
    return Evaluated(model, attack, target, test[:count], task)


def bare(cell: Cell, workbench: Workbench) -> Classifier:
    """Return the model without its fit, and without anybody looking at what it returns."""
    victim: Model = type_of(cell.victim, Model)
    defense: Defense = type_of(cell.defense, Defense)
    task = workbench.task(cell, "load")
    model = victim.load(task).eval().requires_grad_(False)
    return defense.wrap(model, task).eval().requires_grad_(False)


def model_key(evaluation: Evaluation, known: Catalog) -> str:
    """Return what two evaluations share that attack one model on the same images."""
    cell = plan(spec_from(**evaluation.asked()), "cpu", known)[-1]
    return f"{cell.fit_id} {cell.data_id} {cell.threat}"
