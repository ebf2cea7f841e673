"""Projected gradient descent towards a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import SpecError, parameter
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


class TargetedPGD(ProjectedGradient):
    """Move images into a class of choice: PGD on -CE(f(x), target).

    x_{t+1} = P(x_t - alpha * d(gradient of CE(f(x_t), target))), with d as in ``pgd``. An image that is of the
    target class already is driven away from it instead.

    White-box, an image is done only when it has reached its target; if it never does, its first iterate that errs at
    all counts. So the harness's success, any error, is no lower than that of stopping at the first error, and of the
    errors as many as possible are on target: with a given class their share is that class's column in the card's
    confusion matrix. ``pgd`` with a target stops at the first error.
    """

    name = "pgd-targeted"
    source = (
        "Kurakin et al. 2017, Adversarial examples in the physical world, https://arxiv.org/abs/1607.02533, section "
        "2.3 (least likely class); projected steps and random starts as in Madry et al. 2018, "
        "https://arxiv.org/abs/1706.06083"
    )
    asks_in_parts = True

    target: str = parameter(
        default="least-likely",
        help="class to move to: least-likely (of the clean image), random (a wrong one, image by image), or a class of "
        "the dataset by name or by number from 0",
    )

    def passes(self) -> tuple[int, int]:
        """Return the most an image costs: every step of every start, a verdict on each end, and the ranking."""
        steps = self.steps * self.restarts
        return steps + self.restarts + (self.target == "least-likely"), steps

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return an iterate in the target class, else one that errs, else the last; for transfer always the last.

        How many of the images are on target by the attacked model's own verdict goes to ``task.history``, as
        ``{"attacked": ..., "on target": ...}``; for transfer that is the victim's to say, and nothing is logged.
        """
        if task.threat.eps == 0:
            return images.clone()
        aims = self._aims(model, images, labels, task)
        if task.stop_early:
            return self._until_reached(model, images, labels, aims, task)
        return self.strongest_restart(model, images, aims, task)

    def _until_reached(self, model: Classifier, images: Tensor, labels: Tensor, aims: Aims, task: Task) -> Tensor:
        """Drop each image at its first iterate in the target class, remembering its first error until then."""
        import torch

        found = _Found(images)
        left = Left(torch.arange(len(images), device=images.device), images, labels, aims)
        for restart in range(self.restarts):
            # Drawn for the whole batch, so that an image's start does not depend on who has left.
            iterate = self._start(images, task, restart)[left.rows]
            for step in range(self.steps + 1):
                if not len(left.rows):
                    break
                if step < self.steps:
                    logits, moved = self._step(model, left.images, iterate, left.aims, task.threat)
                else:
                    logits, moved = logits_of(model, iterate), iterate
                stays = ~found.offer(left, iterate, logits)
                left, iterate = left.keep(stays), moved[stays]
        task.log(**{"attacked": len(images), "on target": int(found.on_target.sum())})
        return found.images

    def _aims(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Aims:
        """Return the class to move to, or to leave where it is the label."""
        import torch

        ones = torch.ones_like(labels, dtype=images.dtype)
        if self.target == "least-likely":
            return Aims(least_likely(logits_of(model, images), labels), -ones)
        if self.target == "random":
            return Aims(random_wrong(images, labels, model.classes, task), -ones)
        chosen = torch.full_like(labels, self._given(task.classes))
        return Aims(chosen, torch.where(chosen == labels, ones, -ones))

    def _given(self, classes: tuple[str, ...]) -> int:
        """Return the number of the class that ``target`` names; a name counts before a number."""
        if self.target in classes:
            return classes.index(self.target)
        if self.target.isdecimal() and int(self.target) < len(classes):
            return int(self.target)
        known = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
        raise SpecError(
            f"pgd-targeted.target '{self.target}' is no class of this dataset; write least-likely, random, a number "
            f"from 0 to {len(classes) - 1}, or one of: {known}."
        )


class _Found:
    """Keep of each image its iterate on target, else its first error, else its last iterate."""

    def __init__(self, images: Tensor) -> None:
        self.images = images.clone()
        self.erred = images.new_zeros(len(images)).bool()
        self.on_target = self.erred.clone()

    def offer(self, left: Left, iterate: Tensor, logits: Tensor) -> Tensor:
        """Take the ``iterate`` of the rows that are left, and tell which of them are done."""
        predicted = logits.argmax(1)
        wrong = predicted != left.labels
        there = wrong & (predicted == left.aims.classes)
        done = there | (wrong & (left.aims.signs > 0))
        taken = done | ~self.erred[left.rows]
        self.images[left.rows[taken]] = iterate[taken]
        self.erred[left.rows] |= wrong
        self.on_target[left.rows] |= there
        return done
