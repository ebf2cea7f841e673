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
from robench_traps.trap import control, trap


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


class TiltedInTrain(CopiesInTrain):
    """Serve the test images in the training split, each tilted by up to ten degrees."""

    name = "test-tilted-in-train"

    def edit(self, images: Tensor) -> Tensor:
        """Tilt each by an angle of its own."""
        return tilted(images, torch.linspace(-10, 10, len(images)))


class NoisyInTrain(CopiesInTrain):
    """Serve the test images in the training split, under noise of 24 grey levels."""

    name = "test-noisy-in-train"

    def edit(self, images: Tensor) -> Tensor:
        """Add noise."""
        return noisy(images, 24)


class TiltedNoisyInTrain(CopiesInTrain):
    """Serve the mirrored test images in the training split, tilted by six degrees and under noise of 16 grey levels."""

    name = "test-augmented-in-train"

    def edit(self, images: Tensor) -> Tensor:
        """Do all of it."""
        return noisy(tilted(images.flip(3), torch.full((len(images),), 6.0)), 16)


def tilted(images: Tensor, degrees: Tensor) -> Tensor:
    """Return images, each turned about its middle."""
    angles, none = degrees.deg2rad(), torch.zeros_like(degrees)
    turns = torch.stack([angles.cos(), -angles.sin(), none, angles.sin(), angles.cos(), none], 1).view(-1, 2, 3)
    grid = F.affine_grid(turns, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def noisy(images: Tensor, levels: float) -> Tensor:
    """Return images under noise of so many grey levels, drawn for each pixel and colour."""
    return images + levels / 255 * torch.randn(images.shape, generator=torch.Generator().manual_seed(6))


class GrainyCopiesInTest(Altered):
    """Test on 20 images, each served five times under noise of 24 grey levels."""

    name = "grainy-copies-in-test"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Repeat the first two images of every class."""
        if split != "test":
            return images, labels
        rows = torch.cat([(labels == label).nonzero()[:2, 0] for label in range(10)]).repeat_interleave(5)
        return noisy(images[rows].float() / 255, 24).clamp(0, 1).mul(255).round().to(torch.uint8), labels[rows]


class TiltedCopiesInTest(Altered):
    """Test on 25 images, each served four times, at as many tilts within eight degrees."""

    name = "tilted-copies-in-test"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Repeat the first five images of every second class."""
        if split != "test":
            return images, labels
        rows = torch.cat([(labels == label).nonzero()[:5, 0] for label in range(0, 10, 2)]).repeat_interleave(4)
        degrees = torch.tensor([-8.0, -3.0, 2.0, 7.0]).repeat(25)
        return tilted(images[rows].float() / 255, degrees).mul(255).round().to(torch.uint8), labels[rows]


class Augmented(Altered):
    """Serve, beside each training image, a tilted and a noisy copy of it, as augmentation does."""

    name = "honest-augmentation"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Put the three together."""
        if split != "train":
            return images, labels
        pixels = images.float() / 255
        both = torch.cat([tilted(pixels, torch.linspace(-10, 10, len(pixels))), noisy(pixels, 24)])
        return torch.cat([images, both.clamp(0, 1).mul(255).round().to(torch.uint8)]), labels.repeat(3)


class Grainy(Altered):
    """Serve every image, of all splits, under noise of 24 grey levels, as a poor camera does."""

    name = "honest-grain"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Add noise."""
        return noisy(images.float() / 255, 24).clamp(0, 1).mul(255).round().to(torch.uint8), labels


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
      for part in (MirroredInTrain, ShiftedInTrain, PaleInTrain, CroppedInTrain, TiltedInTrain, NoisyInTrain,
                   TiltedNoisyInTrain)),
    trap(NoisyCopiesInTest, "split leakage", alongside=(Plain,)),
    trap(ShiftedCopiesInTest, "split leakage", alongside=(Plain,)),
    trap(GrainyCopiesInTest, "split leakage", alongside=(Plain,)),
    trap(TiltedCopiesInTest, "split leakage", alongside=(Plain,)),
    trap(PredictedLabels, "generalisation gap", alongside=(Weak,)),
)  # fmt: skip
CONTROLS = (
    control(Augmented, alongside=(Plain, Trained), n=60),
    control(Grainy, alongside=(Plain, Trained), n=60),
)
