"""Auto-PGD: gradient steps with momentum whose size is halved, image by image, where progress stalls."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robench.attacks.apgd_l1 import climb_in_l1
from robench.attacks.best_so_far import Best
from robench.attacks.directions import random_direction
from robench.attacks.loss_probe import Inputs, LossProbe, keep
from robench.attacks.losses import Loss, check_loss, likeliest_wrong, ranks_of
from robench.contracts.asked_in_parts import logits_of
from robench.contracts.classifier import Classifier
from robench.contracts.task import Task
from robench.contracts.threat_model import ThreatModel

#: Weight of the gradient step against the momentum term.
_STEP_WEIGHT = 0.75


def apgd(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    task: Task,
    *,
    loss: Loss = "ce",
    steps: int = 100,
    restarts: int = 1,
    rho: float = 0.75,
    targets: int | tuple[int, ...] = 9,
    draws: int = 1,
    larger_radii: bool = True,
) -> Tensor:
    """Return each image's best iterate: one that fools the model, else the one of highest loss (N, C, H, W).

    z = P(x + alpha * d(g)), x' = P(x + 0.75 (z - x) + 0.25 (x - x_prev)); alpha starts at 2 eps. At checkpoints
    (after 22 % of the steps, then at intervals that shrink from 19 % to 6 %) alpha is halved, and the search goes
    on from the best iterate, where fewer than a share ``rho`` of the steps raised the loss, or where neither the
    best loss nor alpha changed since the checkpoint before. Croce and Hein 2020 (arXiv 2003.01690), algorithm 1. In L1
    steps are sparse, and the search begins in larger balls (:mod:`robench.attacks.apgd_l1`).

    Cost of an image that is never lost: ``steps + 1`` forwards and ``steps`` backwards a start, times ``draws``, in L1
    a forward more for each larger ball; with ``dlr-targeted`` there are ``restarts`` starts a target class, and one
    forward more ranks the classes.

    Args:
        model: logits out; its parameters receive no gradient.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) true classes.
        task: threat model, per-image randomness, and ``stop_early``: an image is done at the first iterate that
            fools the model. Without it every step is taken; which images fall is the same.
        loss: what is climbed; see :mod:`robench.attacks.losses`.
        steps: iterations from each start.
        restarts: starts on the face of the ball.
        rho: the share of rising steps below which alpha is halved; in L1 nothing is counted.
        targets: for ``dlr-targeted``, how many of the likeliest wrong classes are tried in turn, or their ranks.
        draws: forwards averaged for each gradient and each verdict, for models that draw random numbers.
        larger_radii: in L1 search the balls of 3 eps and 2 eps first; elsewhere nothing.

    Raises:
        SpecError: the loss needs more classes than the model has.
        ContractError: the gradient is NaN or infinite.
    """
    if task.threat.eps == 0:
        return images.clone()
    check_loss(loss, model.classes)
    probe, schedule, best = LossProbe(model, loss, draws), _Schedule(steps, rho, checkpoints(steps)), Best(images)
    for rank, targeted in _aims(model, images, labels, loss, targets):
        for restart in range(restarts):
            rows = best.left(task.stop_early)
            if not len(rows):
                return best.images
            inputs = Inputs(rows, images[rows], labels[rows], targeted[rows])
            # Drawn for the whole batch, so that an image's start does not depend on who has left.
            if task.threat.norm == "L1":
                start = task.normal(images, "apgd", rank, restart)[rows]
                climb_in_l1(probe, inputs, start, best, task, steps, larger_radii)
                continue
            unit = random_direction(images, task, "apgd", rank, restart)
            start = task.threat.project(images, images + task.threat.eps * unit)
            _climb(probe, inputs, start[rows], best, task, schedule)
    return best.images


def checkpoints(steps: int) -> dict[int, int]:
    """Return after which steps the step size is looked at, and how many steps each looks back at."""
    window, found, step = max(int(0.22 * steps), 1), {}, 0
    while (step := step + window) <= steps:
        found[step] = window
        window = max(window - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
    return found


def _aims(
    model: Classifier, images: Tensor, labels: Tensor, loss: Loss, targets: int | tuple[int, ...]
) -> list[tuple[int, Tensor]]:
    """Return (rank, target classes) pairs; an untargeted loss has one, of rank 0, whose classes nobody reads."""
    if loss != "dlr-targeted":
        return [(0, labels)]
    logits = logits_of(model, images)
    return [(rank, likeliest_wrong(logits, labels, rank)) for rank in ranks_of(targets, model.classes)]


class _Schedule(NamedTuple):
    """Hold how many steps are taken, and when and by which share the step size is halved."""

    steps: int
    rho: float
    windows: dict[int, int]


class _Search(NamedTuple):
    """Hold where each image is, and what decides on its step size."""

    here: Tensor
    before: Tensor
    gradient: Tensor
    alpha: Tensor  # (N, 1, 1, 1)
    value: Tensor
    rises: Tensor  # steps since the last checkpoint that raised the loss
    peak: Tensor  # the iterate of highest loss of this start, with its gradient and its loss
    peak_gradient: Tensor
    peak_value: Tensor
    checked: Tensor  # the highest loss as of the last checkpoint
    halved: Tensor  # whether alpha was halved there


def _climb(probe: LossProbe, inputs: Inputs, start: Tensor, best: Best, task: Task, schedule: _Schedule) -> None:
    """Take the steps of one start, offering every iterate to ``best``."""
    fooled, value, gradient = probe.evaluate(start, inputs, need_gradient=True)
    best.offer(inputs.rows, start, fooled, value)
    alpha = torch.full_like(value, 2 * task.threat.eps).view(-1, 1, 1, 1)
    nothing, halved = torch.zeros_like(value), torch.ones_like(fooled)
    search = _Search(start, start, gradient, alpha, value, nothing, start, gradient, value, value, halved)
    for step in range(1, schedule.steps + 1):
        if task.stop_early and bool(fooled.any()):
            left = (~fooled).nonzero().flatten()  # places: a GPU is waited for once, and not for each tensor
            inputs, search = Inputs(*keep(inputs, left)), _Search(*keep(search, left))
            if not len(inputs.rows):
                return
        there = _advance(search, inputs.images, task.threat, first=step == 1)
        fooled, value, gradient = probe.evaluate(there, inputs, need_gradient=step < schedule.steps)
        best.offer(inputs.rows, there, fooled, value)
        search = _record(search, there, value, gradient)
        if step in schedule.windows:
            search = _adapt(search, schedule.windows[step], schedule.rho)


def _advance(search: _Search, images: Tensor, threat: ThreatModel, first: bool) -> Tensor:
    """Return the next iterate; the first step has no momentum to add."""
    stepped = threat.project(images, search.here + search.alpha * threat.steepest(search.gradient))
    if first:
        return stepped
    momentum = (1 - _STEP_WEIGHT) * (search.here - search.before)
    return threat.project(images, search.here + _STEP_WEIGHT * (stepped - search.here) + momentum)


def _record(search: _Search, there: Tensor, value: Tensor, gradient: Tensor) -> _Search:
    """Return the search at the new iterate, its peak moved where the loss is higher."""
    higher = value > search.peak_value
    wide = higher.view(-1, 1, 1, 1)
    return search._replace(
        here=there,
        before=search.here,
        gradient=gradient,
        value=value,
        rises=search.rises + (value > search.value),
        peak=torch.where(wide, there, search.peak),
        peak_gradient=torch.where(wide, gradient, search.peak_gradient),
        peak_value=torch.where(higher, value, search.peak_value),
    )


def _adapt(search: _Search, window: int, rho: float) -> _Search:
    """Halve the step size where the search oscillates or stalls, and go on there from the peak."""
    oscillates = search.rises <= rho * window
    stalls = ~search.halved & (search.checked >= search.peak_value)
    halved = oscillates | stalls
    wide = halved.view(-1, 1, 1, 1)
    return search._replace(
        here=torch.where(wide, search.peak, search.here),
        gradient=torch.where(wide, search.peak_gradient, search.gradient),
        alpha=torch.where(wide, search.alpha / 2, search.alpha),
        rises=torch.zeros_like(search.rises),
        checked=search.peak_value,
        halved=halved,
    )
