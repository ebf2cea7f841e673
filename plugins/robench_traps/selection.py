"""Test images that the model knows, that were chosen because it is good at them, or that training shows turned."""

from __future__ import annotations

import torch
from torch import Tensor

from robench import Split, ThreatModel
from robench_traps.base import Plain, climb, lead, plain
from robench_traps.copies import CopiesInTrain
from robench_traps.data import Altered
from robench_traps.training import FittedOnTest, Trained
from robench_traps.trap import trap


class FittedOnBoth(FittedOnTest):
    """Learn the test and the validation images by heart, so that no gap shows between them."""

    name = "fitted-on-test-and-validation"

    def splits(self) -> tuple[Split, ...]:
        """Return both."""
        return ("test", "val")


#: Radius at which one test digit in four still stands.
HARD = ThreatModel("Linf", 5 / 255)


class EasyImages(Altered):
    """Serve the sixty test images of five hundred that have the largest margin under attack."""

    name = "easy-images"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Sort, and cut off."""
        if split != "test":
            return images, labels
        pixels = images.float() / 255
        with torch.no_grad():
            logits = plain()(climb(plain(), pixels, labels, HARD, 10, HARD.eps / 4))
        order = lead(logits, labels).argsort(descending=True)[:60]
        return images[order], labels[order]


class TurnedInTrain(CopiesInTrain):
    """Serve the test images in the training split, turned by a quarter."""

    name = "test-turned-in-train"

    def edit(self, images: Tensor) -> Tensor:
        """Turn."""
        return images.rot90(1, (2, 3))


class InvertedInTrain(CopiesInTrain):
    """Serve the negatives of the test images in the training split."""

    name = "test-inverted-in-train"

    def edit(self, images: Tensor) -> Tensor:
        """Invert."""
        return 1 - images


class TurnedCopiesInTest(Altered):
    """Test on 25 images, each served four times, a quarter turn further each time."""

    name = "turned-copies-in-test"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Repeat the first images of the zeros, ones, sixes, eights and nines."""
        if split != "test":
            return images, labels
        rows = torch.cat([(labels == label).nonzero()[:5, 0] for label in (0, 1, 6, 8, 9)])
        return torch.cat([images[rows].rot90(turn, (2, 3)) for turn in range(4)]), labels[rows].repeat(4)


TRAPS = (
    trap(FittedOnBoth, "generalisation gap", alongside=(Plain,), eps="12/255", n=200),
    trap(EasyImages, "generalisation gap", alongside=(Plain,), eps="5/255", n=60),
    *(trap(part, "split leakage", alongside=(Plain, Trained))
      for part in (TurnedInTrain, InvertedInTrain)),
    trap(TurnedCopiesInTest, "split leakage", alongside=(Plain,)),
)  # fmt: skip
