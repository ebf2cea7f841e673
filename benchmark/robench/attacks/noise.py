"""Random points of the ball: the control that no attack may lose to."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from robench.attacks.best_so_far import Best
from robench.attacks.directions import length
from robench.attacks.random_search import ask
from robench.contracts.classifier import Classifier
from robench.contracts.task import Task

Distribution = Literal["uniform", "gaussian", "corners"]


def noise(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    task: Task,
    *,
    distribution: Distribution = "uniform",
    draws: int = 1,
) -> Tensor:
    """Return the draw from the ball around each image that fools the model, or comes nearest to it (N, C, H, W).

    ``uniform``: independent pixels in [-eps, eps]; ``gaussian``: normal pixels of standard deviation eps, cut off at
    eps; ``corners``: every pixel moved by +-eps. In L2 and L1 the draw is scaled to length eps instead.

    Cost of an image that is never lost: ``draws`` forwards; none for a single draw, which needs no choice.

    Args:
        model: asked only which of several draws is best.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) true classes.
        task: threat model, per-image randomness, and ``stop_early``: an image is done at its first error.
        distribution: of the pixels.
        draws: random points an image.
    """
    if task.threat.eps == 0:
        return images.clone()
    if draws == 1:
        return _draw(images, task, distribution, 0)
    best = Best(images)
    for draw in range(draws):
        rows = best.left(task.stop_early)
        if not len(rows):
            break
        candidates = _draw(images, task, distribution, draw)[rows]
        best.offer(rows, candidates, *ask(model, candidates, labels[rows]))
    return best.images


def _draw(images: Tensor, task: Task, distribution: Distribution, draw: int) -> Tensor:
    unit = (task.normal if distribution == "gaussian" else task.uniform)(images, "noise", draw)
    if distribution == "corners":
        unit = torch.where(unit > 0, 1.0, -1.0)
    if task.threat.norm != "Linf":
        unit = unit / length(task.threat, unit).clamp_min(1e-12)
    return task.threat.project(images, images + task.threat.eps * unit)
