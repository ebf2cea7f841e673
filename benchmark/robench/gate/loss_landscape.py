"""Is the loss smooth enough to climb? Indicator I2 of Pintor et al. 2022, on the margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from robench.contracts.adaptive import drawing
from robench.evidence.card import Check
from robench.evidence.check_rules import SHARES
from robench.evidence.check_verdict import share, skip
from robench.gate.finite_differences import margin_of
from robench.gate.measurement import Measurement
from robench.gate.probe_context import ProbeContext

IMAGES = 32
#: Half-width of the noise, in pixel units (the indicator's r = 8/255 is the whole width).
RADIUS = 4 / 255
#: Relative change of the loss from which a landscape counts as unstable.
UNSTABLE = 0.10
#: Share of the images on which it may be.
MOST_ROUGH = SHARES["stable loss"].limits[0]


def probe(context: ProbeContext) -> dict[str, Any]:
    """Return on how many images tiny noise changes the margin by more than it should, and the median change."""
    draws = context.level.landscape
    if not draws:
        return {"n": 0, "change": 0.0, "worst": 0.0, "rough": 0}
    count = context.budget.images("landscape", (draws + 1) * context.price, min(IMAGES, int(context.standing.sum())))
    rows = context.some(context.standing, count, "landscape")
    changes: list[float] = []
    threat = context.task.threat
    radius = RADIUS if threat.norm == "L2" else min(RADIUS, threat.reach(math.prod(context.test.shape)))
    for images, labels, indices in context.batches(rows):
        task = context.task.replace(indices=indices)
        with torch.no_grad():
            base = _margin(context, images, labels)
            total = torch.zeros_like(base)
            for draw in range(draws):
                moved = (images + radius * task.uniform(images, "landscape", draw)).clamp(0, 1)
                change = (_margin(context, moved, labels) - base).abs() / base.abs().clamp_min(1e-12)
                total += change.clamp_max(1.0)
        changes += (total / draws).tolist()
    if not changes:
        return {"n": 0, "change": 0.0, "worst": 0.0, "rough": 0}
    ordered = sorted(changes)
    rough = sum(change > UNSTABLE for change in ordered)
    return {"n": len(ordered), "change": ordered[len(ordered) // 2], "worst": ordered[-1], "rough": rough}


def _margin(context: ProbeContext, images: Tensor, labels: Tensor) -> Tensor:
    # A randomized defense draws the same every time, so that only the image makes a difference.
    with drawing(context.defense.randomized, context.task, "landscape"):
        return margin_of(context.judge(images), labels)


def stable(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that noise far smaller than the attack hardly moves the loss."""
    name, threshold = "stable loss", f"<= {UNSTABLE:.0%} change on {MOST_ROUGH:.0%} of the images tried"
    found = measured.model_probes["landscape"]
    if not found["n"]:
        none = "Not part of --gate quick, or no image was left standing."
        return skip(name, threshold, measured.too_dear("landscape") or none)
    return share(
        name, found["rough"], found["n"], (MOST_ROUGH, 1.0),
        "Noise far smaller than the ball hardly changes the loss.",
        f"Noise of 4/255 or less changes the margin by more than {UNSTABLE:.0%} on {found['rough']} of {found['n']} "
        f"images, by {found['change']:.0%} on the median one (indicator I2): the loss is too rough for single "
        "gradients. Average gradients over noise, or attack by queries.",
        threshold=threshold,
        worst="suspect",
    )  # fmt: skip
