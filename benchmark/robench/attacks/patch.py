"""Adversarial patches: gradient steps on the pixels of one square an image, at places that promise most."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robench.attacks.best_so_far import Best
from robench.attacks.loss_probe import Inputs, LossProbe, keep
from robench.attacks.losses import Loss, check_loss
from robench.attacks.random_search import random_place
from robench.contracts.classifier import Classifier
from robench.contracts.patch_square import best_square, fitting, gains, square_at
from robench.contracts.task import Task
from robench.errors import SpecError

#: The first step, in pixel units: half of the whole range.
FIRST_STEP = 0.5
#: Steps without a higher loss after which the step is halved.
PATIENCE = 4
#: Share of the places looked at that follow the slope; the others are drawn.
BY_SLOPE = 0.5


def patch(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    task: Task,
    *,
    loss: Loss = "ce-scaled",
    steps: int = 40,
    places: int = 4,
    tries: int = 48,
    draws: int = 1,
) -> Tensor:
    """Return each image with the best square found: one that fools the model, else that of highest loss (N, C, H, W).

    The square has side eps, lies anywhere within the image, and holds any colours; all else stays. ``tries`` places are
    painted by one step and asked about: half of them those where a linearised model gains most, no two of them
    overlapping while there is room, the others drawn. At the ``places`` of highest loss the pixels then take ``steps``
    steps along the sign of the gradient, from half of the range on, halved image by image where the loss has not risen
    for four steps, and the search goes on there from the best iterate. LaVAN (Karmon et al. 2018, arXiv 1801.02608)
    climbs the pixels of a square; that its place is searched follows Rao et al. 2020 (arXiv 2005.02313).

    Cost of an image that is never lost, times ``draws``: ``1 + tries + places * (steps + 1)`` forwards and
    ``1 + places * steps`` backwards.

    Args:
        model: logits out; its parameters receive no gradient.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) true classes.
        task: threat model ``patch``, per-image randomness, and ``stop_early``: an image is done at its first error.
        loss: what is climbed, but for the targeted one; see :mod:`robench.attacks.losses`.
        steps: at each place.
        places: where the pixels are climbed, one after another.
        tries: places that are looked at, at least ``places``.
        draws: forwards averaged for each gradient and each verdict, for models that draw random numbers.

    Raises:
        SpecError: the loss is targeted, or needs more classes than the model has.
        ContractError: the gradient is NaN or infinite.
    """
    check_loss(loss, model.classes)
    if loss == "dlr-targeted":
        raise SpecError("A patch climbs no targeted loss; choose the loss 'dlr' or 'margin'.")
    best, side = Best(images), int(task.threat.eps)
    if side == 0:
        return best.images
    probe = LossProbe(model, loss, draws)
    everything = Inputs(torch.arange(len(images), device=images.device), images, labels, labels)
    chosen = _promising(probe, everything, best, task, side, max(tries, places))
    for place in range(min(places, chosen.values.shape[1])):
        rows = best.left(task.stop_early)
        if not len(rows):
            break
        inputs = Inputs(rows, images[rows], labels[rows], labels[rows])
        square = square_at((chosen.tops[rows, place], chosen.lefts[rows, place]), side, inputs.images)
        start = task.uniform(images, "patch", place)[rows].add(1).div(2) if place else None
        painted = chosen.corner[rows] if start is None else start.to(images)
        _climb(probe, inputs, torch.where(square, painted, inputs.images), square, best, task, steps)
    return best.images


class _Places(NamedTuple):
    """Hold the places looked at, the best first: top and left, with the loss there (N, tries); and what was painted."""

    tops: Tensor
    lefts: Tensor
    values: Tensor
    corner: Tensor


def _promising(probe: LossProbe, inputs: Inputs, best: Best, task: Task, side: int, tries: int) -> _Places:
    """Return the places looked at, those of highest loss first; what fools the model there is kept."""
    images = inputs.images
    _, _, gradient = probe.evaluate(images, inputs, need_gradient=True)
    tops, lefts = _candidates(images, gradient, task, side, tries)
    # Where the slope says nothing, colours are drawn.
    drawn = (task.uniform(images, "patch", "colours") > 0).to(images)
    corner = torch.where(gradient == 0, drawn, (gradient > 0).to(images))
    found = images.new_full(tops.shape, -torch.inf)
    for place in range(tops.shape[1]):
        rows = best.left(task.stop_early)
        if not len(rows):
            break
        some = Inputs(*keep(inputs, rows))
        square = square_at((tops[rows, place], lefts[rows, place]), side, some.images)
        seen = torch.where(square, corner[rows], some.images)
        fooled, value, _ = probe.evaluate(seen, some, need_gradient=False)
        best.offer(rows, seen, fooled, value)
        found[rows, place] = value
    order = found.argsort(dim=1, descending=True, stable=True)
    return _Places(tops.gather(1, order), lefts.gather(1, order), found.gather(1, order), corner)


def _candidates(images: Tensor, gradient: Tensor, task: Task, side: int, tries: int) -> tuple[Tensor, Tensor]:
    """Return top and left of the places to look at (N, tries): by slope first, then drawn."""
    left = gains(images, gradient)
    found: list[tuple[Tensor, Tensor]] = []
    for _ in range(max(round(BY_SLOPE * tries), 1)):
        at = best_square(left, side)
        found.append(at)
        left = left.masked_fill(square_at(at, side, images)[:, 0], 0.0)
    tall, wide = fitting(side, images)
    rows, columns = images.shape[2] - tall + 1, images.shape[3] - wide + 1
    numbers = task.indices if len(task.indices) else range(len(images))
    generators = [task.generator("patch", number) for number in numbers]
    for _ in range(tries - len(found)):
        drawn = torch.tensor([random_place(one, rows, columns) for one in generators], device=images.device)
        found.append((drawn[:, 0], drawn[:, 1]))
    tops, lefts = zip(*found, strict=True)
    return torch.stack(tops, 1), torch.stack(lefts, 1)


class _Walk(NamedTuple):
    """Hold where each image is, and its best iterate at this place."""

    here: Tensor
    gradient: Tensor
    alpha: Tensor  # (N, 1, 1, 1)
    since: Tensor  # steps since the loss was highest
    peak: Tensor
    peak_gradient: Tensor
    peak_value: Tensor


def _climb(probe: LossProbe, inputs: Inputs, start: Tensor, square: Tensor, best: Best, task: Task, steps: int) -> None:
    """Take the steps at one place, offering every iterate to ``best``."""
    fooled, value, gradient = probe.evaluate(start, inputs, need_gradient=True)
    best.offer(inputs.rows, start, fooled, value)
    alpha = torch.full_like(value, FIRST_STEP).view(-1, 1, 1, 1)
    walk = _Walk(start, gradient, alpha, torch.zeros_like(value), start, gradient, value)
    for step in range(1, steps + 1):
        if task.stop_early and bool(fooled.any()):
            left = (~fooled).nonzero().flatten()
            inputs, walk, square = Inputs(*keep(inputs, left)), _Walk(*keep(walk, left)), square[left]
            if not len(inputs.rows):
                return
        moved = (walk.here + walk.alpha * walk.gradient.sign()).clamp(0.0, 1.0)
        there = torch.where(square, moved, inputs.images)
        fooled, value, gradient = probe.evaluate(there, inputs, need_gradient=step < steps)
        best.offer(inputs.rows, there, fooled, value)
        walk = _advanced(walk, there, value, gradient)


def _advanced(walk: _Walk, there: Tensor, value: Tensor, gradient: Tensor) -> _Walk:
    """Return the walk at the new iterate, or back at its peak with half the step where it has long not risen."""
    higher = value > walk.peak_value
    wide = higher.view(-1, 1, 1, 1)
    peak, peak_gradient = torch.where(wide, there, walk.peak), torch.where(wide, gradient, walk.peak_gradient)
    since = torch.where(higher, 0.0, walk.since + 1)
    back = since >= PATIENCE
    wide = back.view(-1, 1, 1, 1)
    return _Walk(
        here=torch.where(wide, peak, there),
        gradient=torch.where(wide, peak_gradient, gradient),
        alpha=torch.where(wide, walk.alpha / 2, walk.alpha),
        since=torch.where(back, 0.0, since),
        peak=peak,
        peak_gradient=peak_gradient,
        peak_value=torch.where(higher, value, walk.peak_value),
    )
