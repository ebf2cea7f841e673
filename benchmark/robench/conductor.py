"""The conductor: one ring of cells from load to record. This page is the flow."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from robench.bench import Bench
from robench.case import Case
from robench.cell import Cell, type_of
from robench.classifier import ZeroShotClassifier
from robench.contracts import Attack, Model
from robench.errors import ContractError, RobenchError, require
from robench.evidence.card import Card, DataRecord, ModelRecord
from robench.evidence.fingerprint import fingerprint
from robench.evidence.statistics import proportion
from robench.stages.craft import craft
from robench.stages.illustrate import illustrate
from robench.stages.judge import judge
from robench.stages.probe import probe
from robench.stages.record import record
from robench.stages.score import Outcomes, score

Failed = Callable[[Cell, RobenchError], None]


def run_ring(cells: Sequence[Cell], bench: Bench, given: Mapping[str, Any], failed: Failed) -> list[Card]:
    """Return the cards of cells that are judged together; a failing cell is reported and the others stand."""
    cases = []
    # Cells of one defended victim follow each other, in the order asked for, so that it is loaded once.
    order = {fit_id: place for place, fit_id in enumerate(dict.fromkeys(cell.fit_id for cell in cells))}
    for cell in sorted(cells, key=lambda cell: order[cell.fit_id]):
        try:
            cases.append(measure(cell, bench))
        except RobenchError as error:
            failed(cell, error)
        except Exception as error:  # a plugin may raise anything, anywhere; the other cells stand
            failed(cell, unexpected(error))
    return [record(case, judge(case, cases), given) for case in cases]


def unexpected(error: Exception) -> ContractError:
    """Return an error nobody foresaw as a sentence that says where it was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return ContractError(f"{type(error).__name__}: {error} (raised in {frame.filename}, line {frame.lineno}).")


def measure(cell: Cell, bench: Bench) -> Case:
    """Return what one cell gives: load, fit, score clean, craft, score, probe."""
    store, attack, name = bench.store, type_of(cell.attack, Attack), cell.defense.component.name
    data = bench.data(cell)
    defended = bench.defended(cell)
    model, labels = defended.prepared.model, data.test.labels
    task = bench.task(cell, "craft").replace(attacked=cell.threat, stop_early=cell.surrogate is None)

    clean_batches = data.test.batches(task.batch_size, bench.device)
    clean = score(model, clean_batches, labels, task, store, cell.clean_id, f"score {name}, clean")

    target, surrogate_clean = model, None
    if cell.surrogate is not None:
        target = bench.surrogate(cell, cell.surrogate).model
        surrogate_clean = check_surrogate(cell, bench)
    worth = clean.correct if cell.surrogate is None else None
    victim = name if cell.surrogate is None else f"surrogate {cell.surrogate.component.name}"
    text = f"craft {attack.name} on {victim}"
    adversarial = craft(attack, target, data.test, worth, task, store, cell.craft_id, text)

    stored = adversarial.batches(task.batch_size, bench.device)
    robust = score(model, stored, labels, task, store, cell.score_id, f"score {name}, {attack.name}")

    survivors = robust.correct if cell.surrogate is None and attack.iterative else None
    again = adversarial.batches(task.batch_size, bench.device)
    probes = probe(
        attack,
        target,
        defended.fitted.model,
        data.test,
        again,
        robust.predictions,
        survivors,
        task,
        store,
        cell.score_id,
    )
    if bench.options.gallery:
        illustrate(model, data.test, adversarial, clean, robust, task, store, cell.score_id)
    return Case(
        cell=cell,
        data=data_record(cell, bench),
        model=model_record(cell, bench),
        fitted=defended.fitted,
        clean=clean,
        adversarial=adversarial,
        robust=robust,
        surrogate_clean=surrogate_clean,
        probes=probes,
    )


def check_surrogate(cell: Cell, bench: Bench) -> float:
    """Return the surrogate's clean accuracy; ContractError if it is not what its author states."""
    chosen = cell.surrogate
    if chosen is None:
        raise TypeError("a white-box cell has no surrogate")
    model: Model = type_of(chosen, Model)
    data, task = bench.data(cell), bench.task(cell, "load")
    key = fingerprint(
        "score", model=fingerprint("load", model=chosen.key, dataset=cell.dataset.key), images=cell.data_id
    )
    batches = data.test.batches(task.batch_size, bench.device)
    network = bench.surrogate(cell, chosen).model
    found: Outcomes = score(network, batches, data.test.labels, task, bench.store, key, f"score {model.name}, clean")
    correct, n = int(found.correct.sum()), len(found.labels)
    stated = model.reference.get(data.dataset.origin())
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
    data, fitted = bench.data(cell), bench.defended(cell).fitted
    return DataRecord(
        shape=data.test.shape,
        classes=list(data.classes),
        test=data.test.fingerprint,
        test_n=len(data.test),
        train=fitted.train,
        train_n=fitted.train_n,
    )


def model_record(cell: Cell, bench: Bench) -> ModelRecord:
    """Return what pins the weights, and how inference was prepared."""
    defended, victim = bench.defended(cell), type_of(cell.victim, Model)
    return ModelRecord(
        victim=bench.victim_digest(cell),
        defended=defended.fitted.digest,
        zero_shot=isinstance(bench.model(cell, cell.victim), ZeroShotClassifier),
        reference=victim.reference.get(bench.data(cell).dataset.origin()),
        inference=list(defended.prepared.steps),
        logit_difference=round(defended.prepared.difference, 9),
    )
