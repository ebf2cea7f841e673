"""Is the model as good, and as robust, on images that it is not tested on?

A model that was fitted on the test images, or labels that were read off the model, show as a gap: between test and
validation images, or where there are none, between the test images and the same images moved by one pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling

from robench.contracts.examples import Batch
from robench.evidence.card import Check, Status
from robench.evidence.check_verdict import check, skip
from robench.evidence.statistics import wilson
from robench.gate.measurement import Measurement
from robench.gate.probe_context import AttackContext, ProbeContext

#: Most unseen images that are answered, and that are attacked.
ANSWERED, ATTACKED = 200, 32
#: Honest models have no gap at all, so that one in forty of them would be accused at 95 %.
CONFIDENCE = 0.999
#: Certain gap to validation images, in shares of the images: above, SUSPECT; INVALID.
GAP = (0.05, 0.20)
#: Certain gap to moved images, which are strange to an honest model too: above, SUSPECT.
MOVED_GAP = (0.25, 1.0)


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
    if not probed.white_box or context.task.threat.eps == 0:
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
    name, clean, robust = "generalisation gap", measured.model_probes["unseen"], measured.probes["unseen"]
    limits = GAP if clean["kind"] == "val" else MOVED_GAP
    threshold = f"<= {limits[0]:.0%} certainly"
    if not clean["n"]:
        return skip(name, threshold, "There were no images beside the test set, or none could be afforded.")
    others = "validation images" if clean["kind"] == "val" else "test images moved by one pixel"
    tested = [("right", clean, int(measured.clean.correct.sum()))]
    if robust["n"]:
        under = f"right under {measured.attack_name}"
        tested.append((under, robust, int(measured.robust.correct.sum())))
    gaps = [certain_gap(right, measured.n, seen["right"], seen["n"]) for _, seen, right in tested]
    certain = max(gaps)
    what, seen, right = tested[gaps.index(certain)]
    status: Status = "invalid" if certain > limits[1] else "suspect" if certain > limits[0] else "pass"
    gap = right / measured.n - seen["right"] / seen["n"]
    figures = f"{right} of {measured.n} test images are {what}, but {seen['right']} of {seen['n']} {others}"
    meaning = (
        f"{figures}: the model was fitted on the test images, or knows them."
        if status != "pass"
        else f"Test images are answered no better than {others}, as far as these tell."
    )
    if status == "pass" and _too_good(measured, clean):
        status = "suspect"
        meaning = (
            f"Every test image is answered right, but {clean['n'] - clean['right']} of {clean['n']} validation "
            "images are not: are the labels of the test set the model's own predictions?"
        )
    return check(name, status, gap, threshold, seen["n"], meaning)


def certain_gap(right: int, n: int, other: int, others: int) -> float:
    """Return the lower end of the 99.9 % interval of the difference of two shares (Newcombe 1998, from Wilson's)."""
    one, two = right / n, other / others
    below, above = one - wilson(right, n, CONFIDENCE)[0], wilson(other, others, CONFIDENCE)[1] - two
    return one - two - math.hypot(below, above)


def _too_good(measured: Measurement, clean: dict[str, Any]) -> bool:
    """Tell whether it is no chance that all mistakes are among the validation images (Fisher's exact test)."""
    wrong, n = clean["n"] - clean["right"], measured.n
    if clean["kind"] != "val" or int(measured.clean.correct.sum()) < n or not wrong:
        return False
    chance: float = math.prod((clean["n"] - place) / (n + clean["n"] - place) for place in range(wrong))
    return bool(chance < (1 - CONFIDENCE) / 2)
