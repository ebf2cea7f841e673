"""Is the loss smooth enough to climb? Indicator I2 of Pintor et al. 2022, on the margin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from robench.contracts.adaptive import drawing
from robench.evidence.card import Check
from robench.evidence.check_verdict import entry, weigh
from robench.gate.gradients import margin_of
from robench.gate.measurement import Measurement
from robench.gate.probe_context import ProbeContext

IMAGES = 32
#: Half-width of the noise, in pixel units (the indicator's r = 8/255 is the whole width).
RADIUS = 4 / 255


def probe(context: ProbeContext) -> dict[str, Any]:
    """Return the median over images of how much tiny noise changes the margin, relative to itself."""
    draws = context.level.landscape
    if not draws:
        return {"n": 0, "change": 0.0, "worst": 0.0}
    count = context.budget.images(0.05, (draws + 1) * context.price, IMAGES)
    rows = context.some(context.standing, count, "landscape")
    changes: list[float] = []
    radius = min(RADIUS, context.task.threat.eps) if context.task.threat.norm == "Linf" else RADIUS
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
        return {"n": 0, "change": 0.0, "worst": 0.0}
    ordered = sorted(changes)
    return {"n": len(ordered), "change": ordered[len(ordered) // 2], "worst": ordered[-1]}


def _margin(context: ProbeContext, images: Tensor, labels: Tensor) -> Tensor:
    # A randomized defense draws the same every time, so that only the image makes a difference.
    with drawing(context.defense.randomized, context.task, "landscape"):
        return margin_of(context.judge(images), labels)


def stable(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that noise far smaller than the attack hardly moves the loss."""
    found, name = measured.model_probes["landscape"], "stable loss"
    figures = {"change": float(found["change"]), "n": found["n"]}
    if not found["n"]:
        return entry(name, figures, "Not part of --gate quick, or no image was left standing.")
    fault = weigh(name, figures).status != "pass"
    meaning = (
        f"Noise of 4/255 or less changes the margin by {found['change']:.0%} on the median image (indicator I2): the "
        "loss is too rough for single gradients. Average gradients over noise, or attack by queries."
        if fault
        else "Noise far smaller than the ball hardly changes the loss."
    )
    return entry(name, figures, meaning)
