"""Projected gradient descent: many small steps, from random starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import parameter
from robench_builtins.attacks.shared.projected_gradient import (
    Aims,
    Left,
    ProjectedGradient,
    least_likely,
    logits_of,
    random_wrong,
)

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task


class PGD(ProjectedGradient):
    """Climb the loss in small steps, projecting onto the ball after each.

    x_0 = P(x + u) with u uniform in the ball, or x_0 = x;
    x_{t+1} = P(x_t + alpha * d(g_t)), where g_t is the gradient of L(f(x_t)) with respect to x_t, d is the
    sign in Linf, g / |g|_2 in L2 and, in L1, the signs of the largest hundredth of g over their number (SLIDE), and P
    projects onto the eps-ball around x and the box [0, 1]. L is the cross-entropy CE(., y) to the label or,
    targeted, -CE(., target).
    """

    name = "pgd"
    source = (
        "Madry et al. 2018, Towards Deep Learning Models Resistant to Adversarial Attacks, "
        "https://arxiv.org/abs/1706.06083; in L1 the steps of Tramer and Boneh 2019, https://arxiv.org/abs/1904.13000"
    )
    asks_in_parts = True

    target: Literal["untargeted", "least-likely", "random"] = parameter(
        default="untargeted",
        help="class to move to: none, the least likely one of the clean image, or a random wrong one",
    )

    def passes(self) -> tuple[int, int]:
        """Return the most an image costs: every step of every start, and the verdicts between starts."""
        boundaries = self.restarts if self.restarts > 1 else 0
        return self.steps * self.restarts + boundaries + (self.target == "least-likely"), self.steps * self.restarts

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the last iterate of each image or, with ``stop_early``, the first that fools the model."""
        if task.threat.eps == 0:
            return images.clone()
        aims = self._aims(model, images, labels, task)
        if task.stop_early:
            return self._until_fooled(model, images, labels, aims, task)
        return self.strongest_restart(model, images, aims, task)

    def _until_fooled(self, model: Classifier, images: Tensor, labels: Tensor, aims: Aims, task: Task) -> Tensor:
        """Drop each image at its first iterate that errs; the harness judges the very last iterate."""
        import torch

        result = images.clone()
        left = Left(torch.arange(len(images), device=images.device), images, labels, aims)
        for restart in range(self.restarts):
            # Drawn for the whole batch, so that an image's start does not depend on who has left.
            iterate = self._start(images, task, restart)[left.rows]
            for _ in range(self.steps):
                if not len(left.rows):
                    return result
                logits, moved = self._step(model, left.images, iterate, left.aims, task.threat)
                fooled = logits.argmax(1) != left.labels
                if fooled.any():
                    result[left.rows[fooled]] = iterate[fooled]
                    left, moved = left.keep(~fooled), moved[~fooled]
                iterate = moved
            result[left.rows] = iterate
            if len(left.rows) and restart + 1 < self.restarts:
                left = left.keep(logits_of(model, iterate).argmax(1) == left.labels)
        return result

    def _aims(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Aims:
        """Return the class to move away from (untargeted: the label) or towards (never the label)."""
        import torch

        ones = torch.ones_like(labels, dtype=images.dtype)
        if self.target == "untargeted":
            return Aims(labels, ones)
        if self.target == "least-likely":
            return Aims(least_likely(logits_of(model, images), labels), -ones)
        return Aims(random_wrong(images, labels, model.classes, task), -ones)
