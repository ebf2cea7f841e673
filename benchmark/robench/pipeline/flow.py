"""The conductor: one group of cells from load to record. This page is the flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, TypeVar

from robench.contracts.classifier import ZeroShotClassifier
from robench.contracts.components import Attack, Defense, Model
from robench.errors import RobenchError, require
from robench.evidence.card import Card, DataRecord, ModelRecord
from robench.evidence.fingerprint import fingerprint
from robench.evidence.meter import Meter
from robench.evidence.statistics import proportion
from robench.gate.measurement import Measurement
from robench.gate.pass_budget import PassBudget
from robench.gate.probe_context import AttackContext, ProbeContext
from robench.gate.worst_case import end_to_end, standing_mask
from robench.pipeline.stages.craft import craft
from robench.pipeline.stages.illustrate import illustrate
from robench.pipeline.stages.judge import judge
from robench.pipeline.stages.probe import Found, probe_attack, probe_model
from robench.pipeline.stages.record import record
from robench.pipeline.stages.score import Outcomes, score
from robench.pipeline.workbench import Bench
from robench.plan.cell import Cell, Chosen, type_of
from robench.runtime.interruption import reason_of

#: How much of what the gate may spend on a cell goes to the defended victim; the rest goes to the attack.
MODEL_SHARE = 0.7

T = TypeVar("T")
Failed = Callable[[Cell, RobenchError], None]


def run_group(cells: Sequence[Cell], bench: Bench, given: Mapping[str, Any], failed: Failed) -> list[Card]:
    """Return the cards of cells that are judged together; a failing cell is reported and the others stand."""
    rows: dict[str, list[Cell]] = {}
    for cell in cells:
        rows.setdefault(cell.fit_id, []).append(cell)
    measurements = []
    for row in rows.values():
        tried = [attempt(partial(measure, cell, bench), [cell], failed) for cell in row]
        measurements += examine([measured for measured in tried if measured is not None], bench, failed)
    return [record(measured, judge(measured, measurements), given) for measured in measurements]


def attempt(work: Callable[[], T], cells: Sequence[Cell], failed: Failed) -> T | None:
    """Return what ``work`` gives; if it raises, report the cells that depend on it and return None."""
    try:
        return work()
    except BaseException as error:  # a plugin may raise anything, anywhere; the other cells stand
        reason = reason_of(error)
    for cell in cells:
        failed(cell, reason)
    return None


def measure(cell: Cell, bench: Bench) -> Measurement:
    """Return what one cell gives: load, fit, score clean, craft, score, probe."""
    store, attack, name = bench.store, type_of(cell.attack, Attack), cell.defense.component.name
    defense: Defense = type_of(cell.defense, Defense)
    data = bench.data(cell)
    defended = bench.defended(cell)
    model, labels = defended.prepared.model, data.test.labels
    draws = defense.draws if defense.randomized else 1
    # Where answers are random, an iterate may err by chance: every step is taken.
    task = bench.task(cell, "craft").replace(
        attacked=cell.threat, stop_early=cell.surrogate is None and not defense.randomized
    )

    clean_batches = data.test.batches(task.batch_size, bench.device)
    clean = score(model, clean_batches, labels, task, store, cell.clean_id, f"score {name}, clean", draws)

    target, surrogate_clean = defended.adaptive, None
    if cell.surrogate is not None:
        target = bench.surrogate(cell, cell.surrogate).model
        surrogate_clean = check_surrogate(cell, bench)
    worth = clean.correct if cell.surrogate is None else None
    victim = name if cell.surrogate is None else f"surrogate {cell.surrogate.component.name}"
    text = f"craft {attack.name} on {victim}"
    adversarial = craft(attack, target, data.test, worth, task, store, cell.craft_id, text)

    stored = adversarial.batches(task.batch_size, bench.device)
    robust = score(model, stored, labels, task, store, cell.score_id, f"score {name}, {attack.name}", draws)

    if bench.options.gallery:
        illustrate(model, data.test, adversarial, clean, robust, task, store, cell.score_id)
    return Measurement(
        cell=cell,
        data=data_record(cell, bench),
        model=model_record(cell, bench),
        fitted=defended.fitted,
        trained=bench.trained(cell, cell.victim),
        clean=clean,
        adversarial=adversarial,
        robust=robust,
        surrogate_clean=surrogate_clean,
        level=bench.options.gate,
    )


def examine(measurements: Sequence[Measurement], bench: Bench, failed: Failed) -> list[Measurement]:
    """Return the measurements of one row with what the gate found on their defended victim and on each attack."""
    if not measurements:
        return []
    cells, level = [measured.cell for measured in measurements], bench.options.gate
    dearest = max(measurements, key=lambda measured: (not measured.transfer, measured.own))
    found = attempt(partial(examine_model, measurements, dearest, bench), cells, failed)
    if found is None:
        return []
    context, row = found
    examined = []
    for measured in measurements:
        seen = attempt(partial(examine_attack, measured, context, bench), [measured.cell], failed)
        if seen is None:
            continue
        meter = Meter(device=bench.device)
        for part in (seen, row) if measured is dearest else (seen,):
            meter.add(part["meter"])
        examined.append(replace(measured, level=level, probes=seen, model_probes=row, gate=meter.state()))
    return examined


def examine_model(
    measurements: Sequence[Measurement], dearest: Measurement, bench: Bench
) -> tuple[ProbeContext, Found]:
    """Return what probes need to know about a row, and what they found on it."""
    cell, level = dearest.cell, bench.options.gate
    defended, through = bench.defended(cell), end_to_end(measurements)
    context = ProbeContext(
        defense=type_of(cell.defense, Defense),
        target=defended.adaptive,
        prepared=defended.prepared.model,
        plain=defended.fitted.model,
        test=bench.data(cell).test,
        clean=dearest.clean.correct,
        standing=standing_mask(through) if through else dearest.clean.correct,
        task=bench.task(cell, "probe").replace(
            attacked=cell.threat, stop_early=not type_of(cell.defense, Defense).randomized
        ),
        level=level,
        budget=PassBudget(dearest.own, level, MODEL_SHARE),
    )
    beside = sorted(measured.cell.score_id for measured in through) or [cell.fit_id]
    return context, probe_model(context, bench.store, fingerprint("probe", row=beside, level=asdict(level)))


def examine_attack(measured: Measurement, context: ProbeContext, bench: Bench) -> Found:
    """Return what probes found on one attack."""
    cell, level = measured.cell, bench.options.gate
    target = bench.surrogate(cell, cell.surrogate).model if cell.surrogate is not None else context.target
    seeded = replace(
        context,
        task=context.task.replace(attacked=cell.threat, stop_early=context.task.stop_early and not measured.transfer),
    )
    probed = AttackContext(
        context=seeded,
        attack=type_of(cell.attack, Attack),
        target=target,
        white_box=not measured.transfer,
        survivors=measured.robust.correct,
        budget=PassBudget(measured.own, level, 1 - MODEL_SHARE),
    )
    stored = measured.adversarial.batches(seeded.task.batch_size, bench.device)
    return probe_attack(
        probed,
        stored,
        measured.robust,
        bench.store,
        fingerprint("probe", cell=cell.score_id, level=asdict(level)),
    )


def check_surrogate(cell: Cell, bench: Bench) -> float:
    """Return the surrogate's clean accuracy; ContractError if it, or a model it is made of, is not what is stated."""
    if cell.surrogate is None:
        raise TypeError("a white-box cell has no surrogate")
    own, *_ = [check_accuracy(cell, part, bench) for part in cell.surrogate.family]
    return own


def check_accuracy(cell: Cell, chosen: Chosen, bench: Bench) -> float:
    """Return a model's accuracy on the cell's clean images; ContractError if it is not what its author states."""
    model: Model = type_of(chosen, Model)
    data, task = bench.data(cell), bench.task(cell, "load")
    key = fingerprint("score", model=cell.model_id(chosen), images=cell.data_id)
    batches = data.test.batches(task.batch_size, bench.device)
    network = bench.surrogate(cell, chosen).model
    found: Outcomes = score(network, batches, data.test.labels, task, bench.store, key, f"score {model.name}, clean")
    correct, n = int(found.correct.sum()), len(found.labels)
    stated = None if model.untrained() else model.reference.get(data.dataset.origin())
    if stated is not None:
        low, high = proportion(correct, n)
        require(
            low - model.reference_tolerance <= stated <= high + model.reference_tolerance,
            f"The surrogate {model.name} classifies {correct / n:.1%} of the clean images, but {stated:.1%} is stated: "
            "wrong weights, preprocessing or class order. What it crafts would look like robustness, so it may not.",
        )
    return round(correct / n, 6)


def data_record(cell: Cell, bench: Bench) -> DataRecord:
    """Return what pins the images."""
    data, fitted, trained = bench.data(cell), bench.defended(cell).fitted, bench.trained(cell, cell.victim)
    served = fitted if trained is None or fitted.train is not None else trained
    return DataRecord(
        shape=data.test.shape,
        classes=list(data.classes),
        test=data.test.fingerprint,
        test_n=len(data.test),
        train=served.train,
        train_n=served.train_n,
    )


def model_record(cell: Cell, bench: Bench) -> ModelRecord:
    """Return what pins the weights, and how inference was prepared."""
    defended, victim = bench.defended(cell), type_of(cell.victim, Model)
    trained = bench.trained(cell, cell.victim)
    return ModelRecord(
        victim=bench.victim_digest(cell),
        defended=defended.fitted.digest,
        zero_shot=isinstance(bench.model(cell, cell.victim), ZeroShotClassifier),
        reference=None if trained is not None else victim.reference.get(bench.data(cell).dataset.origin()),
        training=trained.training if trained is not None else None,
        training_cost=trained.cost if trained is not None else None,
        inference=list(defended.prepared.steps),
        logit_difference=round(defended.prepared.difference, 9),
    )
