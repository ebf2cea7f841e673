"""Is the path that a defense declares for its gradients the defense's, and does it lead an attack anywhere?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from robench.contracts.classifier import input_gradient
from robench.contracts.task import Task
from robench.errors import RobenchError
from robench.evidence.card import Check
from robench.evidence.check_rules import SHARES
from robench.evidence.check_verdict import share, skip, zero
from robench.gate.finite_differences import margin_of
from robench.gate.measurement import Measurement
from robench.gate.model_consistency import different
from robench.gate.probe_context import ProbeContext
from robench.runtime.out_of_memory import is_out_of_memory

#: Images on which answers are compared, and on which the path is followed.
IMAGES, FOLLOWED = 16, 16
#: Random corners of the ball that the end of the path has to beat, on the mean.
CORNERS = 3
#: Share of the margin that counts as a change of it.
FLAT = 1e-4
#: Shares of the images on which the path may lead no lower than they do: above, SUSPECT; INVALID.
ASTRAY = SHARES["straight-through leads"].limits


def probe(context: ProbeContext) -> dict[str, Any]:
    """Return on how many images the declared path answers otherwise, and on how many it leads no lower than chance."""
    if context.defense.gradient != "straight-through":
        return {"n": 0, "differ": 0, "followed": 0, "astray": 0}
    return _answers(context) | _follow(context)


def _answers(context: ProbeContext) -> dict[str, int]:
    if context.defense.randomized:
        return {"n": 0, "differ": 0}
    count = context.budget.images("path", 2, IMAGES)
    rows = context.some(torch.ones_like(context.clean), count, "path")
    if not rows:
        return {"n": 0, "differ": 0}
    images = torch.cat([batch.images for batch in context.batches(rows)])
    # As attacks meet it: with gradients on, and on points off the pixel grid.
    moved = context.task.threat.from_uniform(images, context.task.replace(indices=rows).uniform(images, "path"))
    with torch.enable_grad():
        led = context.target(moved.detach().requires_grad_(True)).detach()
    with torch.no_grad():
        return {"n": len(rows), "differ": different(context.plain(moved), led)}


def _follow(context: ProbeContext) -> dict[str, int]:
    """Step to the edge of the ball along the declared gradient, and to corners of it at random."""
    count = context.budget.images("leads", (4 + CORNERS) * context.price, FOLLOWED)
    astray, rows = 0, context.some(context.clean, count, "follow")
    for images, labels, indices in context.batches(rows):
        task = context.task.replace(indices=indices)

        def lead(points: Tensor, labels: Tensor = labels) -> Tensor:
            return margin_of(context.target(points), labels)

        try:
            _, gradient = input_gradient(lead, images)
        except (RuntimeError, RobenchError) as error:  # no gradient to follow: another check says so
            if is_out_of_memory(error):
                raise
            return {"followed": 0, "astray": 0}
        end = task.threat.one_step(images, -gradient.nan_to_num(0.0))
        led = _margin(context, end, labels)
        corners = torch.stack([_margin(context, _corner(images, task, draw), labels) for draw in range(CORNERS)])
        # Where nothing moves the margin, as where rounding undoes whatever the ball allows, nobody is led astray.
        moves = (corners - led).abs().amax(0) > FLAT * led.abs().clamp_min(1.0)
        astray += int((moves & (led >= corners.mean(0))).sum())
    return {"followed": len(rows), "astray": astray}


def _corner(images: Tensor, task: Task, draw: int) -> Tensor:
    return task.threat.from_uniform(images, task.uniform(images, "corner", draw).sign())


def _margin(context: ProbeContext, images: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return margin_of(context.judge(images), labels)


def path(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """Hold the forward of the straight-through path to that of the defense."""
    name, found = "straight-through path", measured.model_probes["path"]
    if not found["n"]:
        why = measured.too_dear("path") or "The defense declares no straight-through path."
        return skip(name, "= 0 images differ", why)
    return zero(
        name, found["differ"], "images differ", found["n"],
        "The straight-through path answers as the defense does.",
        "The straight-through path (Defense.adaptive) answers other than the defense itself: attacks were led through "
        "another model. Its forward must be the defense's; only its backward may be an approximation.",
    )  # fmt: skip


def leads(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that a step along the declared gradient leads lower than steps at random."""
    name, found = "straight-through leads", measured.model_probes["path"]
    if not found["followed"] or measured.cell.threat.eps == 0:
        none = "The defense declares no straight-through path, or none that a gradient comes through."
        why = measured.too_dear("leads") or none
        return skip(name, f"<= {ASTRAY[0]:.0%} of the images tried", why)
    return share(
        name, found["astray"], found["followed"], ASTRAY,
        "A step along the declared gradient leads lower than steps at random.",
        f"On {found['astray']} of {found['followed']} images a step along the declared gradient lowers the margin no "
        "more than steps at random: the backward approximation (Defense.adaptive) leads attacks nowhere. Give a better "
        "one, or declare gradient = none.",
    )  # fmt: skip
