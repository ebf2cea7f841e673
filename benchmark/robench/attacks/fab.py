"""The fast adaptive boundary attack: the shortest way out of the class, whatever eps is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robench.attacks.best_so_far import Best
from robench.attacks.directions import length, random_direction
from robench.attacks.hyperplane import shortest_to_hyperplane
from robench.attacks.input_gradients import finite_gradient
from robench.attacks.losses import likeliest_wrong, ranks_of
from robench.contracts.asked_in_parts import logits_of
from robench.contracts.classifier import Classifier
from robench.contracts.task import Task
from robench.contracts.threat_model import ThreatModel

#: Least length of a step in the weighing of the two projections, so that 0 / 0 does not arise at the boundary.
_SHORTEST = 1e-8


def fab(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    task: Task,
    *,
    steps: int = 100,
    restarts: int = 1,
    targets: int | tuple[int, ...] = 9,
    alpha_max: float = 0.1,
    eta: float = 1.05,
    beta: float = 0.9,
) -> Tensor:
    """Return each image's nearest error if it lies in the ball, else that error moved back to the ball (N, C, H, W).

    At each step the decision boundary to a target class t is replaced by the hyperplane z_t - z_y = 0 of the
    linearised model. With d the shortest way to it in the box from the iterate x, and d0 from the image x0:
    x' = (1 - a)(x + eta d) + a (x0 + eta d0), a = min(|d| / (|d| + |d0|), alpha_max). Where x' errs it is a
    candidate, and the search goes on from x0 + beta (x' - x0). Croce and Hein 2020 (arXiv 1907.02044), in the
    targeted form that AutoAttack uses; with two classes there is one target, and it is the untargeted attack.

    Cost of an image that is never lost: one forward that ranks the classes, and ``2 steps`` forwards and ``steps``
    backwards a start; ``restarts`` starts a target class.

    Args:
        model: logits out; its parameters receive no gradient.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) true classes.
        task: threat model, per-image randomness, and ``stop_early``: an image is done at the first error inside the
            ball. Without it every step is taken; which images fall is the same.
        steps: iterations from each start.
        restarts: starts a target class: the image itself, then points at half the radius.
        targets: how many of the likeliest wrong classes are tried in turn, or their ranks.
        alpha_max: most weight of the way from the image.
        eta: overshooting of the boundary.
        beta: the share of an error's distance from which the search goes on.
    """
    if task.threat.eps == 0:
        return images.clone()
    logits = logits_of(model, images)
    pull, best = _Pull(alpha_max, eta, beta), Best(images)
    everywhere = torch.arange(len(images), device=images.device)
    wrong = logits.argmax(1) != labels
    best.offer(everywhere[wrong], images[wrong], wrong[wrong], torch.zeros_like(best.values)[wrong])
    for rank in ranks_of(targets, model.classes):
        aims = likeliest_wrong(logits, labels, rank)
        for restart in range(restarts):
            rows = best.left(task.stop_early)
            if not len(rows):
                return best.images
            start = _start(images, task, rank, restart)[rows]
            _approach(model, _Inputs(rows, images[rows], labels[rows], aims[rows]), start, best, task, pull, steps)
    outside = task.threat.distance(images, best.images) > task.threat.eps
    best.images[outside] = task.threat.project(images[outside], best.images[outside])
    return best.images


class _Pull(NamedTuple):
    """Hold the three constants of the method."""

    alpha_max: float
    eta: float
    beta: float


class _Inputs(NamedTuple):
    """Hold what stays the same of the images under attack: their places in the batch, pixels and classes."""

    rows: Tensor
    images: Tensor
    labels: Tensor
    targets: Tensor

    def keep(self, mask: Tensor) -> _Inputs:
        """Return the rows that ``mask`` keeps."""
        return _Inputs(*(tensor[mask] for tensor in self))


def _start(images: Tensor, task: Task, rank: int, restart: int) -> Tensor:
    if restart == 0:
        return images
    unit = random_direction(images, task, "fab", rank, restart)
    return (images + task.threat.eps / 2 * unit).clamp(0.0, 1.0)


def _approach(
    model: Classifier, inputs: _Inputs, start: Tensor, best: Best, task: Task, pull: _Pull, steps: int
) -> None:
    """Take the steps of one start, offering every error to ``best``, nearest first."""
    iterate = start
    for _ in range(steps):
        iterate = _step(model, inputs, iterate, task.threat, pull)
        errs = logits_of(model, iterate).argmax(1) != inputs.labels
        distance = task.threat.distance(inputs.images, iterate)
        inside = errs & (distance <= task.threat.eps)
        best.offer(inputs.rows[errs], iterate[errs], inside[errs], -distance[errs])
        back = inputs.images + pull.beta * (iterate - inputs.images)
        iterate = torch.where(errs.view(-1, 1, 1, 1), back, iterate)
        if task.stop_early and bool(inside.any()):
            inputs, iterate = inputs.keep(~inside), iterate[~inside]
            if not len(inputs.rows):
                return


def _step(model: Classifier, inputs: _Inputs, iterate: Tensor, threat: ThreatModel, pull: _Pull) -> Tensor:
    """Return the next iterate, between the shortest ways to the linearised boundary from here and from the image."""

    def lead(x: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        chosen: Tensor = model(x).gather(1, torch.stack([targets, labels], 1))
        return chosen[:, 0] - chosen[:, 1]

    here, gradient = finite_gradient(lead, iterate, inputs.targets, inputs.labels)
    normal, images = gradient.flatten(1), inputs.images
    at_image = here + (normal * (images - iterate).flatten(1)).sum(1)
    step = shortest_to_hyperplane(iterate.flatten(1), normal, here, threat.norm).view_as(images)
    from_image = shortest_to_hyperplane(images.flatten(1), normal, at_image, threat.norm).view_as(images)
    near, far = (length(threat, way).clamp_min(_SHORTEST) for way in (step, from_image))
    weight = (near / (near + far)).clamp_max(pull.alpha_max)
    moved = (1 - weight) * (iterate + pull.eta * step) + weight * (images + pull.eta * from_image)
    return moved.clamp(0.0, 1.0)
