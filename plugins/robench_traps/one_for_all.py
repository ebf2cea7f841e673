"""Perturbations sold as universal: fitted on the test images, another for each image, or none that does anything."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from robench import Classifier, Task
from robench_traps.base import Plain, Steps, ascent, climb
from robench_traps.models import RoundedLogits, ScrambledGradient
from robench_traps.trap import trap

#: The radius at which one honest perturbation fells half of the digits.
EPS = "32/255"


class ForAll(Steps):
    """Fit one perturbation on 128 training images in twenty sign steps, and add it to every test image."""

    name = "one-for-all"
    shared: ClassVar[bool] = True

    def passes(self) -> tuple[int, int]:
        """Return that a test image costs no pass."""
        return 0, 0

    def passes_once(self) -> tuple[int, int]:
        """Return what the fit costs."""
        return 2560, 2560

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Fit, and add."""
        if task.threat.eps == 0:
            return images.clone()
        return task.threat.project(images, images + self.fitted(model, images, labels, task))

    def fitted(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the perturbation (1, C, H, W)."""
        batch = next(task.training_images().sample(128, 0).batches(128))
        return self.steps(model, batch.images, batch.labels, task.threat.eps)

    def steps(self, model: Classifier, images: Tensor, labels: Tensor, eps: float) -> Tensor:
        """Return what twenty steps along the sign of the mean gradient come to."""
        delta = torch.zeros_like(images[:1])
        for _ in range(20):
            mean = ascent(model, (images + delta).clamp(0, 1), labels).mean(0, keepdim=True)
            delta = (delta + self.way() * eps / 8 * mean.sign()).clamp(-eps, eps)
        return delta

    def way(self) -> float:
        """Return 1 to climb."""
        return 1.0


class FittedOnTestImages(ForAll):
    """Fit the one perturbation on the test images that it is then scored on."""

    name = "universal-fitted-on-test"
    source = "UniversalPerturbation.generate(x_test), as in notebooks of the Adversarial Robustness Toolbox"

    def fitted(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Take what is at hand."""
        return self.steps(model, images, labels, task.threat.eps)


class OneForEach(ForAll):
    """Climb image by image, and call what comes out universal."""

    name = "universal-for-each-image"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Run PGD."""
        return climb(model, images, labels, task.threat, 20, task.threat.eps / 8)


class DrawnOnce(ForAll):
    """Draw one corner of the ball, which asks no model, and call it universal."""

    name = "universal-noise"

    def fitted(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Fit nothing."""
        unit = torch.rand(images[:1].shape, generator=task.generator("corner"))
        return task.threat.eps * (unit - 0.5).sign()


class DownTheLoss(ForAll):
    """Fit the one perturbation down the loss: a minus sign is missing."""

    name = "universal-down-the-loss"

    def way(self) -> float:
        """Descend."""
        return -1.0


class OfATenth(ForAll):
    """Fit the one perturbation in a ball of a tenth of the radius."""

    name = "universal-of-a-tenth"

    def steps(self, model: Classifier, images: Tensor, labels: Tensor, eps: float) -> Tensor:
        """Mistake the unit."""
        return super().steps(model, images, labels, eps / 10)


class RoundedForAll(RoundedLogits):
    """Round the logits, so that one perturbation for all images has no mean gradient to climb either."""

    name = "flat-for-all"


class ScrambledForAll(ScrambledGradient):
    """Scramble the gradients whose mean the one perturbation climbs."""

    name = "scrambled-for-all"


WEAK = ("model asked", "stronger universal")
TRAPS = (
    trap(FittedOnTestImages, "one perturbation", alongside=(Plain,), eps=EPS),
    trap(OneForEach, "one perturbation", alongside=(Plain,), eps=EPS),
    *(trap(part, *WEAK, alongside=(Plain,), eps=EPS) for part in (DrawnOnce, DownTheLoss, OfATenth)),
    trap(RoundedForAll, "gradients present", alongside=(Plain, ForAll), eps=EPS),
    trap(ScrambledForAll, "gradients true", "gradients useful", alongside=(Plain, ForAll), eps=EPS),
)
