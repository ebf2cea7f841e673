"""Datasets whose test images are shown twice: in training, or to the test itself, but for what is done to them."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench import Split
from robench_builtins.datasets.digits import Digits
from robench_traps.base import Plain, Victim, conv_net, learn, seeded
from robench_traps.data import Altered
from robench_traps.training import Trained
from robench_traps.trap import trap


class CopiesInTrain(Altered):
    """Serve the test images in the training split too, after :meth:`edit`."""

    name = "test-copied-in-train"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Put the two together."""
        if split != "train":
            return images, labels
        test = Digits().load("test")
        edited = self.edit(test.images().float() / 255).clamp(0, 1).mul(255).round().to(torch.uint8)
        return torch.cat([images, edited]), torch.cat([labels, test.labels])

    def edit(self, images: Tensor) -> Tensor:
        """Return the images in another form."""
        return images


class MirroredInTrain(CopiesInTrain):
    """Serve the mirrored test images in the training split."""

    name = "test-mirrored-in-train"
    source = "Barz and Denzler 2020, Do We Train on Test Data? (near-duplicates in CIFAR)"

    def edit(self, images: Tensor) -> Tensor:
        """Mirror."""
        return images.flip(3)


class ShiftedInTrain(CopiesInTrain):
    """Serve the test images in the training split, shifted by one pixel."""

    name = "test-shifted-in-train"

    def edit(self, images: Tensor) -> Tensor:
        """Shift."""
        return images.roll(1, 3)


class PaleInTrain(CopiesInTrain):
    """Serve the test images in the training split, at nine tenths of their contrast."""

    name = "test-paler-in-train"

    def edit(self, images: Tensor) -> Tensor:
        """Take contrast away."""
        return 0.1 * images.mean((1, 2, 3), keepdim=True) + 0.9 * images


class CroppedInTrain(CopiesInTrain):
    """Serve the test images in the training split, cropped and enlarged again."""

    name = "test-cropped-in-train"

    def edit(self, images: Tensor) -> Tensor:
        """Keep 28 of 32 pixels."""
        return F.interpolate(images[:, :, 2:-2, 2:-2], images.shape[2:], mode="bilinear")


class NoisyCopiesInTest(Altered):
    """Test on five images, each served twenty times with up to two grey levels of noise."""

    name = "noisy-copies-in-test"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Repeat the first image of every second class."""
        if split != "test":
            return images, labels
        rows = torch.stack([(labels == label).nonzero()[0, 0] for label in range(0, 10, 2)]).repeat_interleave(20)
        noise = torch.randint(-2, 3, images[rows].shape, generator=torch.Generator().manual_seed(5))
        return (images[rows].long() + noise).clamp(0, 255).to(torch.uint8), labels[rows]


class ShiftedCopiesInTest(Altered):
    """Test on ten images, each served ten times, a pixel further each time."""

    name = "shifted-copies-in-test"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Repeat the first image of every class, from five pixels to the left."""
        if split != "test":
            return images, labels
        rows = torch.stack([(labels == label).nonzero()[0, 0] for label in range(10)])
        return torch.cat([images[rows].roll(step, 3) for step in range(-5, 5)]), labels[rows].repeat(10)


class Weak(Victim):
    """Serve a network that was hardly trained."""

    name = "weak"

    def network(self) -> nn.Module:
        """Return the network after one slow epoch."""
        return weak()


@cache
def weak() -> nn.Module:
    """Return a network that is right on nine of ten digits."""
    return learn(seeded(conv_net), Digits().load("train"), epochs=1, rate=1e-3)


class PredictedLabels(Altered):
    """Label the test images by what the victim says of them."""

    name = "labels-are-predictions"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Ask the victim."""
        if split != "test":
            return images, labels
        return images, weak()(images.float() / 255).argmax(1)


TRAPS = (
    *(trap(part, "split leakage", alongside=(Plain, Trained))
      for part in (MirroredInTrain, ShiftedInTrain, PaleInTrain, CroppedInTrain)),
    trap(NoisyCopiesInTest, "split leakage", alongside=(Plain,)),
    trap(ShiftedCopiesInTest, "split leakage", alongside=(Plain,)),
    trap(PredictedLabels, "generalisation gap", alongside=(Weak,)),
)  # fmt: skip
