"""Datasets whose splits, labels or pixels are not what they are taken for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robench import Classifier, Dataset, Examples, Split, Task
from robench_builtins.datasets.digits import Digits
from robench_traps.base import Plain, Steps, Victim, climb
from robench_traps.models import WrongNormalisation
from robench_traps.training import Trained
from robench_traps.trap import trap


class Altered(Dataset):
    """Serve the digits, with whatever :meth:`alter` does to a split."""

    def classes(self) -> tuple[str, ...]:
        """Return the digits' names."""
        return Digits().classes()

    def load(self, split: Split) -> Examples:
        """Return the altered split."""
        examples = Digits().load(split)
        return Examples.from_tensors(*self.alter(examples.images(), examples.labels, split))

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Return other images (uint8) and labels."""
        return images, labels


class TestInTrain(Altered):
    """Serve the test images in the training split too."""

    name = "test-in-train"
    source = "splits drawn with replacement: 14.8 % of validation images were trained on, in a course report"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Put the two together."""
        if split != "train":
            return images, labels
        test = Digits().load("test")
        return torch.cat([images, test.images()]), torch.cat([labels, test.labels])


class NearlyTestInTrain(Altered):
    """Serve the test images in the training split, one grey level brighter, as another copy of a photo is."""

    name = "test-nearly-in-train"
    source = "Barz and Denzler 2020, Do We Train on Test Data? (near-duplicates in CIFAR)"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Brighten what is added."""
        if split != "train":
            return images, labels
        test = Digits().load("test")
        return torch.cat([images, test.images().clamp_max(254) + 1]), torch.cat([labels, test.labels])


class OtherOrder(Altered):
    """Number the classes of the test split in another order than those of the training split."""

    name = "other-class-order-in-test"
    source = "folder names sorted as text in one split and as numbers in the other"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Rotate the first nine labels."""
        order = torch.tensor([1, 2, 3, 4, 5, 6, 7, 8, 0, 9])
        return images, order[labels] if split == "test" else labels


class OneClass(Altered):
    """Test on the first images of a split sorted by class, which are all of one class."""

    name = "sorted-test-split"
    source = "dataset[:1000] of an unshuffled set"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Keep the zeros."""
        rows = labels == 0 if split == "test" else labels >= 0
        return images[rows], labels[rows]


class LabelsFromOne(Altered):
    """Number the classes from 1, as some files do."""

    name = "labels-from-one"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Shift them."""
        return images, labels + 1


class PixelsTo255(Dataset):
    """Serve float pixels in 0..255, beside which an eps of 8/255 is nothing."""

    name = "pixels-to-255"

    def classes(self) -> tuple[str, ...]:
        """Return the digits' names."""
        return Digits().classes()

    def load(self, split: Split) -> Examples:
        """Forget the division."""
        examples = Digits().load(split)
        return Examples.from_tensors(examples.images().float(), examples.labels)


class LowContrast(Altered):
    """Serve the digits between the grey levels 120 and 136."""

    name = "low-contrast"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Compress to 17 levels, which the scans have anyway."""
        return (images.float() * 16 / 255 + 120).round().to(torch.uint8), labels


class Stretches(Victim):
    """Stretch the contrast before the network sees the image."""

    name = "stretches"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Undo :class:`LowContrast`."""
        return super().answer(network, (images * 255 - 120) / 16)


class RoundedAway(Steps):
    """Save the adversarial images as bytes: at an eps below half a grey level, every perturbation is rounded away."""

    name = "rounded-away"
    source = "R-TPT and torchattacks' save_type='int', which pass adversarial images through 8 bits"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Write and read back 8 bits a pixel."""
        moved = climb(model, images, labels, task.threat, 20, task.threat.eps / 8)
        return (moved * 255).round() / 255


class WrongSurrogate(WrongNormalisation):
    """Craft transfers on a network given the wrong normalisation, so that they are weak and the victim looks robust."""

    name = "surrogate-preprocessing"


TRAPS = (
    trap(TestInTrain, "split leakage", alongside=(Plain, Trained)),
    trap(NearlyTestInTrain, "split leakage", alongside=(Plain, Trained)),
    trap(OtherOrder, "class order", alongside=(Plain,)),
    trap(OneClass, "classes shown", alongside=(Plain,), n=None),
    trap(LabelsFromOne, refusal="serves labels outside", alongside=(Plain,)),
    trap(PixelsTo255, refusal="takes float32 images in [0, 1]", alongside=(Plain,)),
    trap(RoundedAway, "undefended victim falls", "images moved", alongside=(LowContrast, Stretches), eps="0.45/255"),
    trap(
        WrongSurrogate,
        "reference clean accuracy",
        refusal="wrong weights, preprocessing or class order",
        alongside=(Plain,),
        victim="plain",
        surrogate="surrogate-preprocessing",
    ),
)
