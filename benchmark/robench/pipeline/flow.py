"""The flow: one comparison group of cells from load to record, on one page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, TypeVar

from robench.contracts.certificate import Certificate
from robench.contracts.classifier import ZeroShotClassifier
from robench.contracts.components import Attack, Defense, Model
from robench.errors import RobenchError, require
from robench.evidence.card import Card, DataRecord, ModelRecord
from robench.evidence.fingerprint import fingerprint
from robench.evidence.meter import Meter
from robench.evidence.statistics import proportion
from robench.evidence.work_queue import free_first
from robench.gate.images_and_labels import shows_few
from robench.gate.measurement import Measurement
from robench.gate.pass_budget import MODEL_SHARE, OF_ATTACK, OF_MODEL, PassBudget
from robench.gate.probe_context import AttackContext, ProbeContext
from robench.gate.worst_case import end_to_end, standing_mask
from robench.pipeline.kept_images import needs_images
from robench.pipeline.stages.certify import certify
from robench.pipeline.stages.craft import craft
from robench.pipeline.stages.illustrate import illustrate
from robench.pipeline.stages.judge import judge
from robench.pipeline.stages.probe import ProbeResults, attack_probe_key, probe_attack, probe_model
from robench.pipeline.stages.record import record
from robench.pipeline.stages.score import Outcomes, score
from robench.pipeline.workbench import Workbench
from robench.plan.cell import Cell, SelectedComponent, type_of
from robench.runtime.interruption import reason_of
from robench.runtime.lost_device import check_device

T = TypeVar("T")
Failed = Callable[[Cell, RobenchError], None]


def run_group(
    cells: Sequence[Cell],
    workbench: Workbench,
    request: Mapping[str, Any],
    failed: Failed,
    begun: Callable[[Cell], None] = lambda cell: None,
) -> list[Card]:
    """Return the cards of cells that are judged together; a failing cell is reported and the others stand."""
    by_victim: dict[str, list[Cell]] = {}
    for cell in cells:
        by_victim.setdefault(cell.fit_id, []).append(cell)
    examined: dict[str, list[Measurement]] = {}
    # A fit is one process's work: others that share the store take another defended victim of the group meanwhile.
    fits = list(by_victim)
    for place in free_first("victim", fits, workbench.store):
        fit_id, same_victim = fits[place], by_victim[fits[place]]
        tried = [attempt(partial(measure, cell, workbench, begun), [cell], workbench, failed) for cell in same_victim]
        examined[fit_id] = examine([measured for measured in tried if measured is not None], workbench, failed)
    measurements = [measured for fit_id in by_victim for measured in examined[fit_id]]
    cards = [
        attempt(partial(conclude, one, measurements, request), [one.cell], workbench, failed) for one in measurements
    ]
    return [card for card in cards if card is not None]


def conclude(measured: Measurement, group: Sequence[Measurement], request: Mapping[str, Any]) -> Card:
    """Return the card of a measured cell, judged beside those of its group."""
    return record(measured, judge(measured, group), request)


def attempt(work: Callable[[], T], cells: Sequence[Cell], workbench: Workbench, failed: Failed) -> T | None:
    """Return what ``work`` gives; if it raises, report the cells that depend on it and return None.

    Raises:
        DeviceLost: the device computes nothing more; the cells that are left would fail for it too.
    """
    try:
        return work()
    except BaseException as error:  # a plugin may raise anything, anywhere; the other cells stand
        check_device(workbench.device, error)
        reason = reason_of(error)
    for cell in cells:
        failed(cell, reason)
    return None


def measure(cell: Cell, workbench: Workbench, begun: Callable[[Cell], None] = lambda cell: None) -> Measurement:
    """Return what one cell gives: load, fit, score clean, craft, score, probe."""
    begun(cell)
    store, attack, name = workbench.store, type_of(cell.attack, Attack), cell.defense.component.name
    defense: Defense = type_of(cell.defense, Defense)
    data = workbench.data(cell)
    defended = workbench.defended(cell)
    model, labels = defended.prepared.model, data.test.labels
    draws = defense.draws if defense.randomized else 1
    task = workbench.craft_task(cell)

    clean_batches = data.test.batches(task.batch_size, workbench.device)
    text = f"score {name}, clean"
    clean = score(model, clean_batches, labels, task, store, cell.clean_id, text, draws, of=data.signatures)

    certified = [
        certify(
            type_of(chosen, Certificate),
            defended.fitted.model,
            data.test,
            workbench.task(cell, "certify").replace(threat_model=cell.threat),
            store,
            cell.certificate_id(chosen),
            f"certify {name}, {chosen.component.name}",
        )
        for chosen in cell.certificates
    ]  # before anything is crafted: what cannot be certified is said at once

    target, surrogate_clean = defended.adaptive, None
    if cell.surrogate is not None:
        target = workbench.surrogate(cell, cell.surrogate).model
        surrogate_clean = check_surrogate(cell, workbench)
    # Corruptions attack nobody: what is wrong clean may come out right.
    worth_attacking = clean.correct if cell.surrogate is None and cell.threat.ball else None
    victim = name if cell.surrogate is None else f"surrogate {cell.surrogate.component.name}"
    text = f"craft {attack.name} on {victim}"
    needed = needs_images(cell, store, workbench.options.gate, workbench.options.gallery)
    adversarial = craft(
        attack, target, data.test, worth_attacking, task, store, cell.craft_id, text, needed, precision=cell.precision
    )

    stored = adversarial.batches(task.batch_size, workbench.device)
    text, made = f"score {name}, {attack.name}", adversarial.fingerprint
    robust = score(model, stored, labels, task, store, cell.score_id, text, draws, of=made)

    if workbench.options.gallery:
        illustrate(model, data.test, adversarial, clean, robust, task, store, cell.score_id)
    return Measurement(
        cell=cell,
        data=data_record(cell, workbench),
        model=model_record(cell, workbench),
        fitted=defended.fitted,
        trained=workbench.trained(cell, cell.victim),
        clean=clean,
        adversarial=adversarial,
        robust=robust,
        surrogate_clean=surrogate_clean,
        level=workbench.options.gate,
        certified=certified,
        classes_served=workbench.classes_served(cell) if shows_few(labels, len(data.classes)) else None,
    )


def examine(measurements: Sequence[Measurement], workbench: Workbench, failed: Failed) -> list[Measurement]:
    """Return the measurements of one defended victim with what the gate found on it and on each attack."""
    if not measurements:
        return []
    cells, level = [measured.cell for measured in measurements], workbench.options.gate
    dearest = max(measurements, key=lambda measured: (not measured.transfer, measured.own))
    found = attempt(partial(examine_model, measurements, dearest, workbench), cells, workbench, failed)
    if found is None:
        return []
    context, model_probes = found
    examined = []
    for measured in measurements:
        seen = attempt(partial(examine_attack, measured, context, workbench), [measured.cell], workbench, failed)
        if seen is None:
            continue
        meter = Meter(device=workbench.device)
        for part in (seen, model_probes) if measured is dearest else (seen,):
            meter.add(part["meter"])
        examined.append(replace(measured, level=level, probes=seen, model_probes=model_probes, gate=meter.state()))
    return examined


def examine_model(
    measurements: Sequence[Measurement], dearest: Measurement, workbench: Workbench
) -> tuple[ProbeContext, ProbeResults]:
    """Return what probes need to know about a defended victim, and what they found on it."""
    cell, level = dearest.cell, workbench.options.gate
    defended, direct = workbench.defended(cell), end_to_end(measurements)
    context = ProbeContext(
        defense=type_of(cell.defense, Defense),
        target=defended.adaptive,
        prepared=defended.prepared.model,
        plain=defended.fitted.model,
        test=workbench.data(cell).test,
        clean=dearest.clean.correct,
        standing=standing_mask(direct) if direct else dearest.clean.correct,
        task=workbench.task(cell, "probe").replace(
            threat_model=cell.threat, stop_early=not type_of(cell.defense, Defense).randomized
        ),
        level=level,
        budget=PassBudget(dearest.own, level, MODEL_SHARE, OF_MODEL),
        train_thumbnails=dearest.train_signatures.thumbnails,
        serve_unseen=partial(workbench.validation, cell),
        climbed=any(
            measured.iterative and not type_of(measured.cell.attack, Attack).queries_only for measured in direct
        ),
    )
    attacks = sorted(measured.cell.score_id for measured in direct) or [cell.fit_id]
    return context, probe_model(context, workbench.store, fingerprint("probe", row=attacks, level=asdict(level)))


def examine_attack(measured: Measurement, context: ProbeContext, workbench: Workbench) -> ProbeResults:
    """Return what probes found on one attack."""
    cell, level = measured.cell, workbench.options.gate
    target = workbench.surrogate(cell, cell.surrogate).model if cell.surrogate is not None else context.target
    seeded = replace(
        context,
        task=context.task.replace(
            threat_model=cell.threat, stop_early=context.task.stop_early and not measured.transfer
        ),
    )
    crafting = measured.adversarial.meter.forwards + measured.adversarial.meter.backwards
    probed = AttackContext(
        context=seeded,
        attack=type_of(cell.attack, Attack),
        target=target,
        white_box=not measured.transfer,
        survivors=measured.robust.correct,
        budget=PassBudget(measured.own, level, 1 - MODEL_SHARE, OF_ATTACK, seeded.price),
        crafted=crafting / max(measured.adversarial.total("attacked"), 1),
        crafting=workbench.craft_task(cell),
    )
    stored = measured.adversarial.batches(seeded.task.batch_size, workbench.device)
    return probe_attack(
        probed,
        stored,
        measured.robust,
        measured.clean,
        workbench.store,
        attack_probe_key(cell.score_id, level),
    )


def check_surrogate(cell: Cell, workbench: Workbench) -> float:
    """Return the surrogate's clean accuracy; ContractError if it, or a model it is made of, is not what is stated."""
    if cell.surrogate is None:
        raise TypeError("a white-box cell has no surrogate")
    own, *_ = [check_accuracy(cell, part, workbench) for part in cell.surrogate.family]
    return own


def check_accuracy(cell: Cell, chosen: SelectedComponent, workbench: Workbench) -> float:
    """Return a model's accuracy on the cell's clean images; ContractError if it is not what its author states."""
    model: Model = type_of(chosen, Model)
    data, task = workbench.data(cell), workbench.task(cell, "load")
    key = fingerprint("score", model=cell.model_id(chosen), images=cell.data_id)
    batches = data.test.batches(task.batch_size, workbench.device)
    network = workbench.surrogate(cell, chosen).model
    text = f"score {model.name}, clean"
    found: Outcomes = score(network, batches, data.test.labels, task, workbench.store, key, text, of=data.signatures)
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


def data_record(cell: Cell, workbench: Workbench) -> DataRecord:
    """Return what pins the images."""
    data, fitted, trained = workbench.data(cell), workbench.defended(cell).fitted, workbench.trained(cell, cell.victim)
    served = fitted if trained is None or fitted.train is not None else trained
    return DataRecord(
        shape=data.test.shape,
        classes=list(data.classes),
        test=data.test.fingerprint,
        test_n=len(data.test),
        train=served.train,
        train_n=served.train_n,
    )


def model_record(cell: Cell, workbench: Workbench) -> ModelRecord:
    """Return what pins the weights, and how inference was prepared."""
    defended, victim = workbench.defended(cell), type_of(cell.victim, Model)
    trained = workbench.trained(cell, cell.victim)
    return ModelRecord(
        victim=workbench.victim_digest(cell),
        defended=defended.fitted.digest,
        parameters=sum(tensor.numel() for tensor in defended.fitted.model.parameters()),
        zero_shot=isinstance(workbench.model(cell, cell.victim), ZeroShotClassifier),
        reference=None if trained is not None else victim.reference.get(workbench.data(cell).dataset.origin()),
        training=trained.training if trained is not None else None,
        training_cost=trained.cost if trained is not None else None,
        loading=list(workbench.model(cell, cell.victim).notes),
        inference=list(defended.prepared.steps),
        logit_difference=round(defended.prepared.difference, 9),
    )
