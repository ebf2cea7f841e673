"""Is the model as good, and as robust, on images that it is not tested on?

A model that was fitted on the test images, or labels that were read off the model, show as a gap: between test and
validation images, or where there are none, between the test images and the same images moved by one pixel. Test images
that were chosen because the model is good at them show in its margins, image beside image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench.contracts.examples import Batch
from robench.evidence.card import Check
from robench.evidence.check_verdict import check, skip
from robench.evidence.compound_rules import GAP, TO_MOVED, TO_VALIDATION, gap_needed
from robench.evidence.compound_rules import generalises as weigh_gap
from robench.gate.measurement import Measurement
from robench.gate.pass_budget import Exhausted
from robench.gate.probe_context import AttackContext, ProbeContext

#: Most unseen images that are answered, and that are attacked.
ANSWERED, ATTACKED = 200, 32
#: Pairs of a test and a validation image from which on something can be told: all of fewer may be chance.
FEWEST_PAIRS = 11
#: Most test images that are held against themselves moved by one pixel.
PAIRS = 16


def probe(context: ProbeContext) -> dict[str, Any]:
    """Return how many images beside the test set are answered right, and beside how many a test image is easier."""
    validation = context.unseen is not None
    count = context.budget.images("unseen", context.verdict, ANSWERED)
    found: dict[str, Any] = {"kind": context.unseen_kind, "n": 0, "right": 0, "compared": 0, "easier": 0}
    others: list[Tensor] = []
    for batch in unseen(context, count):
        wrong, lead = context.answered(batch.images, batch.labels)
        found["n"] += len(batch.images)
        found["right"] += int((~wrong).sum())
        others.append(lead.cpu())
    return found | _beside(context, torch.cat(others)) if validation and others else found


def _beside(context: ProbeContext, others: Tensor) -> dict[str, int]:
    """Return in how many pairs of a test and a validation image, drawn at random, the test image has the larger margin.

    Each image is in one pair, so that the pairs are independent and the binomial interval of their share is exact. The
    margin is the model's own scale of how hard an image is; among images of one source each is the easier one of half
    of its pairs, however good the model is.
    """
    wanted = min(len(others), len(context.test))
    if context.budget.part("beside") < FEWEST_PAIRS * context.verdict or wanted < FEWEST_PAIRS:
        return {"compared": 0, "easier": 0}
    count = context.budget.images("beside", context.verdict, wanted)
    rows = context.some(torch.ones_like(context.clean), count, "beside")
    leads = [context.answered(batch.images, batch.labels)[1].cpu() for batch in context.batches(rows)]
    order = torch.randperm(len(others), generator=context.task.generator("gate", "partners"))[:count]
    return {"compared": count, "easier": int((torch.cat(leads) > others[order]).sum()) if count else 0}


def probe_attack(probed: AttackContext) -> dict[str, Any]:
    """Return how many images beside the test set withstand the judged attack."""
    context = probed.context
    found: dict[str, Any] = {"kind": context.unseen_kind, "n": 0, "right": 0}
    if not _attacks_images(probed):
        return found
    count = probed.budget.images("robust", probed.cost + 2 * context.verdict, ATTACKED)
    for images, labels, indices in unseen(context, count):
        right = ~context.wrong(images, labels)
        rows = right.nonzero().flatten()
        if len(rows):
            task = context.task.replace(indices=[indices[row] for row in rows.tolist()])
            try:
                moved = task.threat.project(images[rows], probed.move(images[rows], labels[rows], task))
            except Exhausted:
                break
            found["right"] += int((~context.wrong(moved, labels[rows])).sum())
        found["n"] += len(images)
    return found


def _attacks_images(probed: AttackContext) -> bool:
    return probed.white_box and not probed.attack.shared and probed.context.task.threat.eps > 0


def probe_moved(probed: AttackContext) -> dict[str, int]:
    """Return how many test images withstand the judged attack as they are, and how many moved by one pixel.

    Both are right without it. A model may know the validation images as well as the test images; what it knows of
    them it does not know of the same pictures a pixel further.
    """
    context, found = probed.context, {"pairs": 0, "pairs_right": 0, "pairs_moved_right": 0}
    if not (context.level.sweep and context.unseen_kind == "val" and _attacks_images(probed)):
        return found
    count = probed.budget.images("moved", probed.cost + 2 * context.verdict, PAIRS)
    for images, labels, indices in context.batches(context.some(context.clean, count, "pairs")):
        shifted = _shifted(images)
        both = (~context.wrong(shifted, labels)).nonzero().flatten()
        if not len(both):
            continue
        places = [indices[row] for row in both.tolist()]
        task = context.task.replace(indices=places)
        try:
            moved = task.threat.project(shifted[both], probed.move(shifted[both], labels[both], task))
        except Exhausted:
            break
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


def _shifted(images: Tensor) -> Tensor:
    return F.pad(images, (1, 0, 1, 0), mode="replicate")[:, :, :-1, :-1].contiguous()


def generalises(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that test images are answered and withstand attacks no better than images beside them."""
    clean, robust = measured.model_probes["unseen"], measured.probes["unseen"]
    moved = measured.probes["moved"]
    validation = clean["kind"] == "val"
    if not clean["n"]:
        threshold = f"<= {(TO_VALIDATION if validation else TO_MOVED)[0]:.0%} certainly"
        return skip(GAP, threshold, measured.too_dear("unseen") or "There were no images beside the test set.")
    others = "validation images" if validation else "test images moved by one pixel"
    figures = {"validation": validation, "of": measured.n, "exact": 2}
    for kind, seen, outcome in (("clean", clean, measured.clean), ("robust", robust, measured.robust)):
        if seen["n"]:
            figures[kind] = int(outcome.correct.sum())
            figures |= {f"{kind}_others": seen["n"], f"{kind}_others_right": seen["right"]}
    if moved["pairs"]:
        figures |= moved
    if clean["compared"]:
        figures |= {name: clean[name] for name in ("compared", "easier")}
    found = weigh_gap(figures)
    meaning = f"Test images are answered no better than {others}, as far as these tell."
    if found.by == "all right":
        meaning = (
            f"Every test image is answered right, but {clean['n'] - clean['right']} of {clean['n']} validation "
            "images are not: are the labels of the test set the model's own predictions?"
        )
    elif found.status != "pass":
        meaning = _what_is_seen(figures, found.by, others, measured.attack_name)
        meaning += _WHY[found.by] if found.status != "skipped" else ", on so few that may be chance."
    if found.status == "skipped":
        images = gap_needed(figures, found.by)
        meaning = f"Not enough images: {meaning} About {images:,} of these would tell (--n or --gate-cost)."
    if found.status == "pass" and not validation:
        meaning += UNSEEN
    meaning = meaning[0].upper() + meaning[1:]
    return check(GAP, found.status, found.value, found.threshold, found.n, meaning, figures)


#: What cannot be told without validation images: training images have larger margins because they were fitted.
UNSEEN = (
    " Whether they were chosen because the model is good at them cannot be told: the dataset has no validation "
    "images to compare margins with."
)
_FITTED = ": the model was fitted on the test images, or knows them."
#: What may be wrong, by what shows it.
_WHY = {
    "clean": _FITTED,
    "robust": _FITTED,
    "moved": _FITTED,
    "easier": ": the test images are those that the model is good at. Draw them at random, with --n.",
}


def _what_is_seen(figures: Mapping[str, float], by: str, others: str, attack: str) -> str:
    """Return what was counted, as the beginning of a sentence."""
    if by == "moved":
        return (
            f"{figures['pairs_right']:g} of {figures['pairs']:g} test images withstand {attack}, but "
            f"{figures['pairs_moved_right']:g} of the same images moved by one pixel"
        )
    if by == "easier":
        return (
            f"beside {figures['easier']:g} of {figures['compared']:g} validation images a test image is the easier one "
            "(its label leads by more)"
        )
    what = "right" if by == "clean" else f"right under {attack}"
    right, among = figures[f"{by}_others_right"], figures[f"{by}_others"]
    return f"{figures[by]:g} of {figures['of']:g} test images are {what}, but {right:g} of {among:g} {others}"
