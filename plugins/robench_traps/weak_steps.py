"""Attacks that take the right steps for the wrong images, in the wrong unit, or not for long."""

from __future__ import annotations

import torch
from torch import Tensor

from robench import Classifier, Task
from robench_traps.base import Plain, Steps, ascent, climb
from robench_traps.honest import deep
from robench_traps.trap import trap


class NormOverTheBatch(Steps):
    """Keep the perturbation of the whole batch in one L2 ball, of which each image gets a tenth."""

    name = "norm-over-the-batch"
    source = "delta.norm() without dim=1, in course code"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Normalise over everything."""
        moved = torch.zeros_like(images)
        for _ in range(20):
            gradient = ascent(model, (images + moved).clamp(0, 1), labels)
            moved = moved + task.threat.eps / 4 * gradient / gradient.norm().clamp_min(1e-12)
            moved = moved * (task.threat.eps / moved.norm().clamp_min(1e-12)).clamp_max(1)
        return (images + moved).clamp(0, 1)


class SignStepsInL1(Steps):
    """Take sign steps in the L1 ball, which move every pixel by next to nothing."""

    name = "sign-steps-in-l1"
    source = "Croce and Hein 2021, Mind the Box: l1-APGD for Sparse Adversarial Attacks (why PGD's steps fail in L1)"
    norms = ("L1",)

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Climb as in Linf."""
        step, iterate = task.threat.eps / images[0].numel() / 4, images
        for _ in range(20):
            iterate = task.threat.project(images, iterate + step * ascent(model, iterate, labels).sign())
        return iterate


class SkipsTheHard(Steps):
    """Attack only what the model is unsure of, and return what looks hopeless as it was."""

    name = "skips-the-hard"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Look at the confidence first."""
        with torch.no_grad():
            sure = model(images).softmax(1).gather(1, labels[:, None]).squeeze(1) > 0.99
        moved = climb(model, images, labels, task.threat, 20, task.threat.eps / 8)
        return torch.where(sure.view(-1, 1, 1, 1), images, moved)


class StopsWithAnother(Steps):
    """Stop at an image as soon as it fools another network than the one that is attacked."""

    name = "stops-with-another-network"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Ask the wrong one."""
        iterate = images
        for _ in range(20):
            with torch.no_grad():
                done = (deep()(iterate).argmax(1) != labels).view(-1, 1, 1, 1)
            step = climb(model, iterate, labels, task.threat, 1, task.threat.eps / 8)
            iterate = torch.where(done, iterate, task.threat.project(images, step))
        return iterate


class ForgetsToAccumulate(Steps):
    """Add each step to the clean image instead of the last iterate, so that twenty steps go as far as one."""

    name = "forgets-to-accumulate"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Start over and over."""
        iterate = images
        for _ in range(20):
            step = task.threat.eps / 8 * task.threat.steepest(ascent(model, iterate, labels))
            iterate = task.threat.project(images, images + step)
        return iterate


WEAK = ("stronger attack", "one step <= many steps")
TRAPS = (
    trap(NormOverTheBatch, *WEAK, alongside=(Plain,), norm="L2", eps="1"),
    trap(SignStepsInL1, *WEAK, alongside=(Plain,), norm="L1", eps="12"),
    trap(SkipsTheHard, *WEAK, alongside=(Plain,)),
    trap(StopsWithAnother, *WEAK, alongside=(Plain,)),
    trap(ForgetsToAccumulate, *WEAK, alongside=(Plain,)),
)
