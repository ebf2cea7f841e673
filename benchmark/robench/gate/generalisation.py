"""Is the model as good, and as robust, on images that it is not tested on?

A model that was fitted on the test images, or labels that were read off the model, show as a gap: between test and
validation images, or where there are none, between the test images and the same images moved by one pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling

from robench.contracts.examples import Batch
from robench.evidence.card import Check
from robench.evidence.check_verdict import check, skip
from robench.evidence.compound_rules import GAP, TO_MOVED, TO_VALIDATION
from robench.evidence.compound_rules import generalises as weigh_gap
from robench.gate.measurement import Measurement
from robench.gate.probe_context import AttackContext, ProbeContext

#: Most unseen images that are answered, and that are attacked.
ANSWERED, ATTACKED = 200, 32
#: Most test images that are held against themselves moved by one pixel.
PAIRS = 16


def probe(context: ProbeContext) -> dict[str, Any]:
    """Return how many images beside the test set are answered right."""
    count = context.budget.images(0.1, context.price, ANSWERED, least=16)
    found: dict[str, Any] = {"kind": context.unseen_kind, "n": 0, "right": 0}
    for batch in unseen(context, count):
        found["n"] += len(batch.images)
        found["right"] += int((~context.wrong(batch.images, batch.labels)).sum())
    return found


def probe_attack(probed: AttackContext) -> dict[str, Any]:
    """Return how many images beside the test set withstand the judged attack."""
    context = probed.context
    found: dict[str, Any] = {"kind": context.unseen_kind, "n": 0, "right": 0}
    if not probed.white_box or probed.attack.shared or context.task.threat.eps == 0:
        return found
    count = probed.budget.attacked(0.2, probed.cost, ATTACKED, least=4)
    for images, labels, indices in unseen(context, count):
        right = ~context.wrong(images, labels)
        rows = right.nonzero().flatten()
        found["n"] += len(images)
        if len(rows):
            task = context.task.replace(indices=[indices[row] for row in rows.tolist()])
            moved = task.threat.project(images[rows], probed.move(images[rows], labels[rows], task))
            found["right"] += int((~context.wrong(moved, labels[rows])).sum())
    return found | (_shifted_pairs(probed) if context.unseen_kind == "val" and context.level.sweep else {})


def _shifted_pairs(probed: AttackContext) -> dict[str, int]:
    """Return how many test images withstand the judged attack as they are, and how many moved by one pixel.

    Both are right without it. A model may know the validation images as well as the test images; what it knows of
    them it does not know of the same pictures a pixel further.
    """
    context, found = probed.context, {"pairs": 0, "pairs_right": 0, "pairs_moved_right": 0}
    count = probed.budget.attacked(0.15, probed.cost, PAIRS, least=4)
    for images, labels, indices in context.batches(context.some(context.clean, count, "pairs")):
        shifted = _shifted(images)
        both = (~context.wrong(shifted, labels)).nonzero().flatten()
        if not len(both):
            continue
        places = [indices[row] for row in both.tolist()]
        task = context.task.replace(indices=places)
        moved = task.threat.project(shifted[both], probed.move(shifted[both], labels[both], task))
        found["pairs"] += len(both)
        found["pairs_right"] += int(probed.survivors[places].sum())
        found["pairs_moved_right"] += int((~context.wrong(moved, labels[both])).sum())
    return found


def unseen(context: ProbeContext, count: int) -> Iterator[Batch]:
    """Yield ``count`` validation images drawn by the seed, or as many test images moved by one pixel."""
    if not count:
        return
    served = context.unseen if context.unseen is not None else context.test
    rows = context.some(torch.ones(len(served), dtype=torch.bool), count, "unseen")
    for images, labels, places in served[rows].batches(context.task.batch_size, context.task.device):
        shown = images if context.unseen is not None else _shifted(images)
        yield Batch(shown, labels, [rows[place] for place in places])


def _shifted(images: torch.Tensor) -> torch.Tensor:
    return F.pad(images, (1, 0, 1, 0), mode="replicate")[:, :, :-1, :-1].contiguous()


def generalises(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that test images are answered and withstand attacks no better than images beside them."""
    clean, robust = measured.model_probes["unseen"], measured.probes["unseen"]
    validation = clean["kind"] == "val"
    if not clean["n"]:
        threshold = f"<= {(TO_VALIDATION if validation else TO_MOVED)[0]:.0%} certainly"
        return skip(GAP, threshold, "There were no images beside the test set, or none could be afforded.")
    others = "validation images" if validation else "test images moved by one pixel"
    figures = {"validation": validation, "of": measured.n, "exact": 1}
    for kind, seen, outcome in (("clean", clean, measured.clean), ("robust", robust, measured.robust)):
        if seen["n"]:
            figures[kind] = int(outcome.correct.sum())
            figures |= {f"{kind}_others": seen["n"], f"{kind}_others_right": seen["right"]}
    if robust.get("pairs"):  # probes of before have none
        figures |= {name: robust[name] for name in ("pairs", "pairs_right", "pairs_moved_right")}
    found = weigh_gap(figures)
    meaning = f"Test images are answered no better than {others}, as far as these tell."
    if found.by == "all right":
        meaning = (
            f"Every test image is answered right, but {clean['n'] - clean['right']} of {clean['n']} validation "
            "images are not: are the labels of the test set the model's own predictions?"
        )
    elif found.by == "moved":
        meaning = (
            f"{robust['pairs_right']} of {robust['pairs']} test images withstand {measured.attack_name}, but "
            f"{robust['pairs_moved_right']} of the same images moved by one pixel: the model was fitted on the test "
            "images, or knows them."
        )
    elif found.status != "pass":
        what = "right" if found.by == "clean" else f"right under {measured.attack_name}"
        right, among = figures[f"{found.by}_others_right"], figures[f"{found.by}_others"]
        meaning = (
            f"{figures[found.by]} of {measured.n} test images are {what}, but {right} of {among} {others}: the model "
            "was fitted on the test images, or knows them."
        )
    return check(GAP, found.status, found.value, found.threshold, found.n, meaning, figures)
