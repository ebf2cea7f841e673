"""The model that an evaluation attacks, as another tool would meet it: without the harness's refusals."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from robench import Classifier, Examples, RobenchError, Task, ThreatModel
from robench.api import spec_from
from robench.contracts.components import Defense, Model
from robench.pipeline.workbench import Options, Workbench
from robench.plan.cell import Cell, type_of
from robench.plan.spec import plan
from robench.plugin.catalog import Catalog
from robench_traps.trap import Evaluation


class Subject(NamedTuple):
    """Hold a model, the test images and the task of attacking it."""

    model: Classifier
    test: Examples
    task: Task


def model_under_attack(evaluation: Evaluation, known: Catalog, store: Path, count: int) -> Subject | None:
    """Return the defended model and the first ``count`` images that it is tested on; None where no data is served."""
    cells = plan(spec_from(**evaluation.asked()), "cpu", known)
    cell = next(cell for cell in reversed(cells) if cell.surrogate is None)
    workbench = Workbench(Options(store=store, device="cpu", prepared=False), "cpu")
    try:
        test = workbench.data(cell).test
    except RobenchError:
        return None
    task = workbench.task(cell, "craft").replace(threat_model=ThreatModel(cell.threat.norm, cell.threat.eps))
    try:
        model = workbench.defended(cell).fitted.model
    except RobenchError:
        model = bare(cell, workbench)
    return Subject(model, test[:count], task)


def bare(cell: Cell, workbench: Workbench) -> Classifier:
    """Return the model without its fit, and without anybody looking at what it returns."""
    victim: Model = type_of(cell.victim, Model)
    defense: Defense = type_of(cell.defense, Defense)
    task = workbench.task(cell, "load")
    model = victim.load(task).eval().requires_grad_(False)
    return defense.wrap(model, task).eval().requires_grad_(False)


def key(evaluation: Evaluation, known: Catalog) -> str:
    """Return what two evaluations share that attack one model on the same images."""
    cell = plan(spec_from(**evaluation.asked()), "cpu", known)[-1]
    return f"{cell.fit_id} {cell.data_id} {cell.threat}"
