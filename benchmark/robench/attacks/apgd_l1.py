"""Auto-PGD in L1: steps in few coordinates, as many as the best point suggests, in balls that shrink to eps."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import torch
from torch import Tensor

from robench.attacks.best_so_far import Best
from robench.attacks.loss_probe import Inputs, LossProbe, keep
from robench.contracts.l1_ball import sparse_signs
from robench.contracts.task import Task
from robench.contracts.threat_model import ThreatModel

#: Multiples of eps whose balls are searched in turn, and the shares of the steps that the larger ones get.
LARGER, SHARE = (3.0, 2.0), 0.3
#: Share of the coordinates that the first steps move, where nothing is known of the point yet.
FIRST = 0.2
#: Checkpoints lie this share of the steps apart. The step size is divided there by the second figure, down to a tenth
#: of eps, unless the best point has become sparser by 5 %; a step moves one in 1.5 of the coordinates that it moves.
APART, SHRINK, LEAST, SPARSER, THINNING = 0.04, 1.5, 0.1, 0.95, 1.5


def climb_in_l1(
    probe: LossProbe, inputs: Inputs, noise: Tensor, best: Best, task: Task, steps: int, larger_radii: bool
) -> None:
    """Take the steps of one start, offering every iterate of the ball of ``task`` to ``best``.

    x' = P(x + alpha * s), s the signs of the k coordinates of largest slope over k, P the nearest point of the ball and
    the box; alpha starts at eps. At checkpoints k becomes 2/3 of the coordinates in which the best point differs from
    the image; where these have become fewer, alpha is set back to eps and the search goes on from the best point, else
    alpha is divided by 1.5, down to eps / 10. Croce and Hein 2021 (arXiv 2103.01208), algorithms 1 and 2, with the
    constants of the official code: 30 % of the steps in the ball of 3 eps, 30 % in that of 2 eps, each from the best
    point of the one before, the rest in that of eps.

    Args:
        probe: the loss that is climbed.
        inputs: the images.
        noise: N(0, 1) in their shape; the start is the image plus it, projected.
        best: what each image's attack has found.
        task: threat model and ``stop_early``.
        steps: of all balls together.
        larger_radii: whether to begin in the larger balls.
    """
    here = inputs.images + noise
    for radius, count in balls(steps, larger_radii):
        threat = dataclasses.replace(task.threat, eps=radius * task.threat.eps)
        start = threat.project(inputs.images, here)
        last = radius == 1
        here = _search(probe, inputs, start, best if last else None, threat, count, task.stop_early, larger_radii)


def balls(steps: int, larger_radii: bool) -> list[tuple[float, int]]:
    """Return (multiple of eps, steps) of the balls that are searched in turn; none without a step but the last."""
    early = min(math.ceil(SHARE * steps), (steps - 1) // len(LARGER)) if larger_radii else 0
    return [(radius, early) for radius in LARGER if early] + [(1.0, steps - len(LARGER) * early)]


class _Search(NamedTuple):
    """Hold where each image is, and what decides on its steps."""

    here: Tensor
    gradient: Tensor
    alpha: Tensor  # (N,)
    moving: Tensor  # (N,) how many coordinates a step moves
    changed: Tensor  # (N,) in how many the best point differed at the last checkpoint
    peak: Tensor  # the iterate of highest loss in this ball, with its gradient and its loss
    peak_gradient: Tensor
    peak_value: Tensor


def _search(
    probe: LossProbe,
    inputs: Inputs,
    start: Tensor,
    best: Best | None,
    threat: ThreatModel,
    steps: int,
    stop_early: bool,
    known: bool,
) -> Tensor:
    """Return the iterate of highest loss in one ball; ``known`` says that the start is as sparse as it should be."""
    fooled, value, gradient = probe.evaluate(start, inputs, need_gradient=True)
    changed = _changed(start, inputs.images)
    size, alpha = start[0].numel(), torch.full_like(value, threat.eps)
    moving = _fewer(changed) if known else torch.full_like(changed, math.ceil(FIRST * size))
    changed = changed if known else torch.full_like(changed, size)
    search = _Search(start, gradient, alpha, moving, changed, start, gradient, value)
    if best is not None:
        best.offer(inputs.rows, start, fooled, value)
    every = max(int(APART * steps), 1)
    for step in range(1, steps + 1):
        if best is not None and stop_early and bool(fooled.any()):
            left = (~fooled).nonzero().flatten()
            inputs, search = Inputs(*keep(inputs, left)), _Search(*keep(search, left))
            if not len(inputs.rows):
                break
        there = search.here + _wide(search.alpha) * sparse_signs(search.gradient, search.moving)
        there = threat.project(inputs.images, there)
        fooled, value, gradient = probe.evaluate(there, inputs, need_gradient=step < steps)
        if best is not None:
            best.offer(inputs.rows, there, fooled, value)
        search = _record(search, there, value, gradient)
        if step < steps and step % every == 0:
            search = _adapt(search, inputs.images, threat.eps)
    return search.peak


def _record(search: _Search, there: Tensor, value: Tensor, gradient: Tensor) -> _Search:
    """Return the search at the new iterate, its peak moved where the loss is higher."""
    higher = value > search.peak_value
    return search._replace(
        here=there,
        gradient=gradient,
        peak=there.where(_wide(higher), search.peak),
        peak_gradient=gradient.where(_wide(higher), search.peak_gradient),
        peak_value=value.where(higher, search.peak_value),
    )


def _adapt(search: _Search, images: Tensor, eps: float) -> _Search:
    """Let steps move as many coordinates as the best point suggests; go on from there where it has become sparser."""
    changed = _changed(search.peak, images)
    sparser = changed < SPARSER * search.changed
    wide = _wide(sparser)
    return search._replace(
        here=search.peak.where(wide, search.here),
        gradient=search.peak_gradient.where(wide, search.gradient),
        alpha=(search.alpha / SHRINK).clamp_min(LEAST * eps).where(~sparser, eps),
        moving=_fewer(changed),
        changed=changed,
    )


def _changed(points: Tensor, images: Tensor) -> Tensor:
    """Return in how many coordinates each point differs from its image (N,)."""
    return (points != images).flatten(1).sum(1)


def _fewer(changed: Tensor) -> Tensor:
    """Return one in 1.5 of as many coordinates, rounded up, and at least one (N,)."""
    return (changed / THINNING).ceil().long().clamp_min(1)


def _wide(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
