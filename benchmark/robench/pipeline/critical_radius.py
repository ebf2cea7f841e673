"""Find, image by image, the smallest radius at which an attack fells it: from a run's cards, then by bisection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from robench.contracts.components import Attack, Defense
from robench.contracts.threat_model import radius_of
from robench.evidence.adversarial_set import KEPT, KIND, AdversarialSet, chunk_keys, whole
from robench.evidence.card import Card
from robench.evidence.fingerprint import CHUNK, fingerprint
from robench.evidence.security_curve import SecurityCurve
from robench.evidence.stage_ids import CURRENT
from robench.pipeline.stages.craft import craft
from robench.pipeline.stages.score import KIND as OUTCOMES
from robench.pipeline.stages.score import Outcomes, right_of, score
from robench.pipeline.workbench import Workbench
from robench.plan.cell import Cell, type_of


def security_curve(
    measured: Sequence[tuple[Cell, Card]], workbench: Workbench, tolerance: float | None = None
) -> SecurityCurve:
    """Return what one attack did to one defended victim at each radius that was tried.

    Args:
        measured: cells that differ in eps alone, with their cards.
        workbench: has the store; models are loaded only where a bisection has something to attack.
        tolerance: halve each image's bracket until it is no wider, attacking only the images that it is about.
    """
    first, card = measured[0]
    curve = SecurityCurve(card.clean.mask())
    for cell, card in measured:
        stood = card.robust.mask()
        found = dict(_stored_distances(cell, [not one for one in stood], workbench))
        curve.add(cell.threat.eps, dict(enumerate(stood)), {row: found[row] for row in found if curve.clean[row]})
        if card.certificates:
            flags = zip(*(record.mask() for record in card.certificates), strict=True)
            curve.proofs[cell.threat.eps] = [any(one) for one in flags]
    while tolerance is not None and (wide := curve.wide(tolerance)):
        for eps, rows in sorted(wide.items()):
            cell = replace(first, threat=replace(first.threat, eps=eps))
            curve.add(eps, *_attack(cell, rows, workbench))
    return curve


def _stored_distances(cell: Cell, fell: Sequence[bool], workbench: Workbench) -> Iterator[tuple[int, float]]:
    """Yield the images that fell whose adversarial image is in the store, with the norm of its perturbation."""
    for place, key in enumerate(chunk_keys(cell.craft_id, len(fell))):
        chunk = workbench.store.get(KIND, key)
        if chunk is None:
            continue
        there = range(min(CHUNK, len(fell) - place * CHUNK)) if whole(chunk) else chunk.meta[KEPT]
        rows = [row for row in there if fell[place * CHUNK + row]]
        if not rows:
            continue
        moved = chunk.tensors()["images"][[there.index(row) for row in rows]]
        numbers = [place * CHUNK + row for row in rows]
        yield from zip(numbers, _distances(cell, numbers, moved, workbench), strict=True)


def _distances(cell: Cell, numbers: Sequence[int], moved: Tensor, workbench: Workbench) -> list[float]:
    """Return the norms of the perturbations of these test images."""
    data, found = workbench.data(cell), list[float]()
    for batch in data.test[numbers].batches(workbench.batch_size(data)):
        found += cell.threat.distance(batch.images, moved[batch.indices]).tolist()
    return found


def _attack(cell: Cell, rows: list[int], workbench: Workbench) -> tuple[dict[int, bool], dict[int, float]]:
    """Return which of these images stood at the cell's radius, and the distances of the others' errors.

    Each meets the attack as it would among all images; where all were attacked at this radius already, that is read.
    """
    stored = workbench.store.get(OUTCOMES, cell.score_id)
    if stored is not None:
        right = right_of(stored).tolist()
        found = dict(_stored_distances(cell, [not one for one in right], workbench))
        return {row: right[row] for row in rows}, {row: found[row] for row in rows if row in found}
    adversarial, outcomes = _craft(cell, rows, workbench)
    right = outcomes.correct.tolist()
    moved = torch.cat([adversarial.images(place) for place in range(len(adversarial.chunks))])
    fell = [place for place, stood in enumerate(right) if not stood]
    numbers = [rows[place] for place in fell]
    found = {}
    if fell:
        lengths = _distances(cell, numbers, moved[fell], workbench)
        found = dict(zip(numbers, lengths, strict=True))
    return dict(zip(rows, right, strict=True)), found


def _craft(cell: Cell, rows: list[int], workbench: Workbench) -> tuple[AdversarialSet, Outcomes]:
    """Return the adversarial images of these test images at the cell's radius, and how the victim answers on them."""
    attack: Attack = type_of(cell.attack, Attack)
    attack.check(cell.threat)
    defense: Defense = type_of(cell.defense, Defense)
    test = workbench.data(cell).test[rows]
    defended = workbench.defended(cell)
    task = workbench.craft_task(cell)
    target = defended.adaptive if cell.surrogate is None else workbench.surrogate(cell, cell.surrogate).model
    key, store = fingerprint("craft", set=cell.craft_id, images=rows), workbench.store
    text = f"{attack.name} at eps {radius_of(cell.threat.eps, cell.threat.norm)}"
    adversarial = craft(attack, target, test, None, task, store, key, text, numbers=rows, precision=cell.precision)
    model, draws = defended.prepared.model, defense.draws if defense.randomized else 1
    batches = adversarial.batches(task.batch_size, workbench.device)
    answers = CURRENT.score(cell.fit_id, key)
    made, text = adversarial.fingerprint, f"score {text}"
    return adversarial, score(model, batches, test.labels, task, store, answers, text, draws, of=made)
