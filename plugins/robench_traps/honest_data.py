"""Honest evaluations on data that a nervous check would accuse: few, large, lopsided, alike, or wrongly labelled."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench import Classifier, Control, Dataset, Examples, Split, Task
from robench_builtins.datasets.digits import Digits
from robench_traps.base import Plain, Robust, Victim, conv_net, learn, seeded
from robench_traps.data import Altered
from robench_traps.trap import control


class Mislabelled(Altered):
    """Serve the digits with one label in ten drawn at random, in every split."""

    name = "mislabelled"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Draw by the number of images, which differs from split to split."""
        draws = torch.Generator().manual_seed(len(labels))
        noisy = torch.rand(len(labels), generator=draws) < 0.1
        return images, torch.where(noisy, torch.randint(0, 10, labels.shape, generator=draws), labels)


@cache
def taught_by_noise() -> nn.Module:
    """Return a network that was trained on labels of which a tenth is wrong."""
    return learn(seeded(conv_net), Mislabelled().load("train"), epochs=4)


class NoisyLabels(Victim):
    """Train and test on labels of which a tenth is drawn at random, so that 100 % is out of reach."""

    name = "honest-label-noise"

    def network(self) -> nn.Module:
        """Return the trained network."""
        return taught_by_noise()


class Lopsided(Altered):
    """Serve every zero and every eighth of the other digits."""

    name = "lopsided"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Thin out nine classes in every split alike."""
        keep = (labels == 0) | (torch.arange(len(labels)) % 8 == 0)
        return images[keep], labels[keep]


class Alike(Dataset):
    """Serve ones and sevens alone, thin strokes on black that differ little from each other."""

    name = "ones-and-sevens"

    def classes(self) -> tuple[str, ...]:
        """Return two names."""
        return ("1", "7")

    def load(self, split: Split) -> Examples:
        """Return the images of these classes."""
        examples = Digits().load(split)
        rows = (examples.labels == 1) | (examples.labels == 7)
        images = examples.images()[rows].float() / 255
        return Examples.from_tensors(images, (examples.labels[rows] == 7).long())


class TellsOnes(Victim):
    """Tell ones from sevens, of which no two are the same and all look alike."""

    name = "honest-alike"

    def load(self, task: Task) -> Classifier:
        """Return a network of two outputs."""
        return Classifier(learn(seeded(lambda: conv_net(2)), Alike().load("train"), epochs=6), classes=2)


class Photos(Dataset):
    """Serve the digits enlarged to 224 x 224 pixels."""

    name = "large-digits"

    def classes(self) -> tuple[str, ...]:
        """Return the digits' names."""
        return Digits().classes()

    def load(self, split: Split) -> Examples:
        """Enlarge sixty of them."""
        batch = next(Digits().load(split).batches(60))
        return Examples.from_tensors(F.interpolate(batch.images, (224, 224)), batch.labels)


class Large(Victim):
    """Attack twelve images of 224 x 224 pixels, of which one or two are left standing."""

    name = "honest-224-pixels"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Average seven by seven pixels first."""
        return super().answer(network, F.avg_pool2d(images, 7))


CONTROLS = (
    control(NoisyLabels, alongside=(Mislabelled,)),
    Control(
        name="honest-imbalance", story="Attack on a test set of which more than half is one class.",
        parts=(Lopsided, Plain), request={"victim": "plain"},
    ),
    control(TellsOnes, alongside=(Alike,), eps="16/255", n=60),
    control(Large, alongside=(Photos,), n=12, eps="6/255"),
    Control(
        name="l1-ball", story="Attack in the L1 ball.", parts=(Plain,),
        request={"norm": "L1", "eps": "12", "n": 60},
    ),
    Control(
        name="targeted-beside-untargeted", story="Show a targeted attack, which wins less, beside an untargeted one.",
        parts=(Plain,), request={"attack": ("pgd", "pgd-targeted"), "n": 60},
    ),
    Control(
        name="transfer-to-robust", story="Show a transfer attack on a robust network beside the white-box one.",
        parts=(Robust, Plain), request={"victim": "robust", "surrogate": "plain", "eps": "24/255", "n": 60},
    ),
)  # fmt: skip
