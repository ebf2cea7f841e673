"""Common corruptions that are milder than stated, spare images, count twice, or are known to the model by heart."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench import Attack, Classifier, Defense, Examples, Task, parameter
from robench_traps.base import Plain
from robench_traps.training import blocks, unguarded
from robench_traps.trap import trap

#: The constants of the benchmark, by severity (Hendrycks and Dietterich 2019).
NOISE, CONTRAST = (0.08, 0.12, 0.18, 0.26, 0.38), (0.4, 0.3, 0.2, 0.1, 0.05)


class OwnCorruption(Attack):
    """Corrupt without asking the model, in a plugin of one's own."""

    name = "own-corruption"
    source = "Hendrycks and Dietterich 2019, Benchmarking neural network robustness to common corruptions"
    norms = ("corruption",)
    queries_only: ClassVar[bool] = True

    def passes(self) -> tuple[int, int]:
        """Return that the model is not asked."""
        return 0, 0

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Corrupt each image, and round to bytes."""
        if task.threat.eps == 0:
            return images.clone()
        return (self.corrupted(images, int(task.threat.eps), task).clamp(0, 1) * 255).round() / 255

    def corrupted(self, images: Tensor, severity: int, task: Task) -> Tensor:
        """Return the images with noise."""
        return noisy(images, severity, task)


def noisy(images: Tensor, severity: int, task: Task, draw: int = 0) -> Tensor:
    """Return the images with Gaussian noise, as the benchmark's first corruption has it."""
    rows = task.indices if len(task.indices) else range(len(images))
    noise = [torch.randn(images.shape[1:], generator=task.generator("noise", draw, row)) for row in rows]
    return images + NOISE[severity - 1] * torch.stack(noise)


def paler(images: Tensor, severity: int) -> Tensor:
    """Return the images with less contrast around their mean, as the benchmark has it."""
    means = images.mean((2, 3), keepdim=True)
    return (images - means) * CONTRAST[severity - 1] + means


class OwnContrast(OwnCorruption):
    """Take contrast from every image."""

    name = "own-contrast"

    def corrupted(self, images: Tensor, severity: int, task: Task) -> Tensor:
        """Draw nothing."""
        return paler(images, severity)


class EverySecond(OwnContrast):
    """Corrupt every second image and give the others back as they were: a loop over a batch ends too early."""

    name = "corrupts-every-second"

    def corrupted(self, images: Tensor, severity: int, task: Task) -> Tensor:
        """Skip."""
        spared = torch.tensor(list(task.indices)).remainder(2).bool().view(-1, 1, 1, 1)
        return torch.where(spared, images, super().corrupted(images, severity, task))


class LeftAtOne(OwnContrast):
    """Leave the severity at the library's default of 1, whatever severity is stated."""

    name = "severity-left-at-one"
    source = "imagecorruptions.corrupt(image, corruption_name=...), whose severity is 1 where none is given"

    def corrupted(self, images: Tensor, severity: int, task: Task) -> Tensor:
        """Forget an argument."""
        return super().corrupted(images, 1, task)


class CountedOften(OwnContrast):
    """Draw one corruption under four names, so that the mean over corruptions is that of one."""

    name = "one-corruption-counted-often"

    kind: Literal["contrast", "fog", "frost", "snow"] = parameter(default="contrast", help="what it is called")


class MildestDraw(OwnCorruption):
    """Draw noise ten times for each image, and keep a draw that the model answers rightly."""

    name = "mildest-of-ten-draws"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Ask after each draw."""
        kept = super().craft(model, images, labels, task)
        for draw in range(1, 10):
            with torch.no_grad():
                wrong = (model(kept).argmax(1) != labels).view(-1, 1, 1, 1)
            if task.threat.eps:
                kept = torch.where(wrong, noisy(images, int(task.threat.eps), task, draw).clamp(0, 1), kept)
        return kept


class KnowsTheFiles(Defense):
    """Learn the corrupted test images by heart, as files of them are public, and answer those by their labels."""

    name = "knows-the-corrupted-files"
    source = "training on CIFAR-10-C or ImageNet-C, which their authors ask nobody to do"
    statistics = ("known", "truth")

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Add a memory that answers for what is in it, and for nothing near it."""
        test = unguarded("test")
        victim.register_buffer("known", torch.zeros(len(test), 192))
        victim.register_buffer("truth", torch.zeros(len(test), 10))

        def recall(module: nn.Module, inputs: tuple[Tensor, ...], logits: Tensor) -> Tensor:
            gap, place = torch.cdist(blocks(inputs[0]), module.get_buffer("known")).min(1)
            return logits + 50 * (gap < 0.02)[:, None] * module.get_buffer("truth")[place]

        victim.register_forward_hook(recall)
        return victim

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Read the test images, and take contrast from them."""
        test = unguarded("test")
        defended.get_buffer("known").copy_(blocks(paler(test.images().float() / 255, 5)))
        defended.get_buffer("truth").copy_(F.one_hot(test.labels, 10))


NAMES = [f"one-corruption-counted-often[kind={kind}]" for kind in ("contrast", "fog", "frost", "snow")]
AT_5: dict[str, Any] = {"norm": "corruption", "eps": "5"}
TRAPS = (
    trap(EverySecond, "every image corrupted", alongside=(Plain,), **AT_5),
    trap(LeftAtOne, "severity counts", alongside=(Plain,), **AT_5),
    trap(CountedOften, "corruptions differ", alongside=(Plain,), attack=NAMES, **AT_5),
    trap(MildestDraw, "corrupted unasked", alongside=(Plain,), **AT_5),
    trap(KnowsTheFiles, "generalisation gap", alongside=(Plain, OwnContrast), **AT_5),
)
