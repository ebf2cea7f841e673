"""Honest data and victims: nothing is wrong with them, and the gate must say so."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench import Classifier, Control, Dataset, Examples, Split, Task
from robench_builtins.datasets.digits import Digits
from robench_traps.base import Plain, Robust, Victim, conv_net, learn, mlp, seeded
from robench_traps.trap import control


class Layers(Victim):
    """Attack a perceptron that nothing defends."""

    name = "honest-mlp"

    def network(self) -> nn.Module:
        """Return two layers."""
        return perceptron()


@cache
def perceptron() -> nn.Module:
    """Return two layers trained on clean images."""
    return learn(seeded(mlp), Digits().load("train"))


class Deep(Victim):
    """Attack six narrow layers of ReLU and pooling, where many units are dead and many gradients exactly zero."""

    name = "honest-dead-units"

    def network(self) -> nn.Module:
        """Return the trained network."""
        return deep()


@cache
def deep() -> nn.Module:
    """Return a network with few live units."""

    def build() -> nn.Sequential:
        sizes = ((64, 48), (48, 48), (48, 48), (48, 32))
        hidden = [layer for size in sizes for layer in (nn.Linear(*size), nn.ReLU())]
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(8), nn.Flatten(), *hidden, nn.Linear(32, 10)
        )

    return learn(seeded(build), Digits().load("train"), epochs=12, rate=3e-3)


class Few(Dataset):
    """Serve the first few digits, grey and in float32."""

    name = "few"

    def classes(self) -> tuple[str, ...]:
        """Return the first names."""
        return Digits().classes()[: self.count()]

    def count(self) -> int:
        """Return the number of classes."""
        return 2

    def load(self, split: Split) -> Examples:
        """Return one channel of the images of these classes."""
        examples = Digits().load(split)
        rows = examples.labels < self.count()
        images = examples.images()[rows][:, :1].float() / 255
        return Examples.from_tensors(images, examples.labels[rows])


class Three(Few):
    """Serve three digits."""

    name = "three-digits"

    def count(self) -> int:
        """Return three."""
        return 3


class Grey(Few):
    """Serve all ten digits, in one channel and in float32."""

    name = "grey-digits"

    def count(self) -> int:
        """Return ten."""
        return 10


class TwoClasses(Victim):
    """Tell two classes apart, where no loss that needs a third logit is defined."""

    name = "two-classes"

    def load(self, task: Task) -> Classifier:
        """Return a network for the classes asked for."""
        return Classifier(learnt(len(task.classes)), classes=len(task.classes))


class ThreeClasses(TwoClasses):
    """Tell three classes apart, one too few for the targeted loss that needs a fourth logit."""

    name = "three-classes"


class GreyNet(TwoClasses):
    """Tell grey digits in float32 apart."""

    name = "grey-float32"


def learnt(classes: int) -> nn.Module:
    """Return a network trained on the first classes, in one channel."""
    data: dict[int, Few] = {2: Few(), 3: Three(), 10: Grey()}
    return learn(seeded(lambda: conv_net(classes, channels=1)), data[classes].load("train"), epochs=6)


class Cosines(nn.Module):
    """Score features by their cosine with class vectors, times 100."""

    def __init__(self) -> None:
        super().__init__()
        self.body = conv_net(classes=32)
        self.classes = nn.Parameter(torch.randn(10, 32))

    def forward(self, images: Tensor) -> Tensor:
        """Return 100 times the cosines (N, 10)."""
        return 100 * F.normalize(self.body(images), dim=1) @ F.normalize(self.classes, dim=1).T


class LargeScale(Victim):
    """Multiply cosines by 100, as CLIP does, and train with that scale."""

    name = "logits-times-100"
    source = "Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision"

    def network(self) -> nn.Module:
        """Return the trained cosines."""
        return cosines()


@cache
def cosines() -> nn.Module:
    """Return the network with a cosine head."""
    return learn(seeded(lambda: nn.Sequential(Cosines())), Digits().load("train"))


class LogProbabilities(Victim):
    """Return log-probabilities, which are logits like any others."""

    name = "log-softmax"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Normalise."""
        return super().answer(network, images).log_softmax(1)


class Cifar(Dataset):
    """Serve CIFAR-10 images of the developers' kit."""

    name = "kit-cifar10"

    def classes(self) -> tuple[str, ...]:
        """Return the usual names in the usual order."""
        return ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    def origin(self) -> str:
        """Return whose images these are."""
        return "cifar10"

    def load(self, split: Split) -> Examples:
        """Return the lossless images."""
        import numpy as np

        with np.load(kit() / "cifar10-lossless-subset.npz", allow_pickle=False) as data:
            images = torch.from_numpy(data[f"x_{split}"]).permute(0, 3, 1, 2).contiguous()
            return Examples.from_tensors(images, torch.from_numpy(data[f"y_{split}"]))


def kit() -> Path:
    """Return the folder of the developers' data kit, which may not exist."""
    return Path(os.environ.get("ROBENCH_KIT", "data"))


def no_kit() -> str:
    """Return why CIFAR-10 images and the ResNet-20 are not at hand, or nothing."""
    present = (kit() / "resnet20_cifar10.safetensors").is_file()
    return "" if present else "the developers' data kit is not here (set ROBENCH_KIT to its folder)"


REAL = Control(
    name="resnet20-cifar10",
    story="Attack a published ResNet-20 on real CIFAR-10 images.",
    case="He et al. 2016, Deep Residual Learning for Image Recognition",
    parts=(Cifar,),
    request={
        "victim": f"resnet20[checkpoint={kit() / 'resnet20_cifar10.safetensors'}]",
        "eps": "1/255",
        "n": 40,
    },
    missing=no_kit,
)
CONTROLS = (
    Control(
        name="undefended", story="Attack a convolutional network that nothing defends, by one step and by many.",
        parts=(Plain,), request={"attack": ("fgsm", "pgd")},
    ),
    control(Layers, eps="24/255"),
    control(Deep, eps="16/255"),
    control(TwoClasses, alongside=(Few,), attack="apgd[loss=margin]", eps="24/255"),
    control(ThreeClasses, alongside=(Three,), eps="16/255"),
    control(GreyNet, alongside=(Grey,), eps="16/255"),
    control(LargeScale),
    control(LogProbabilities),
    Control(
        name="l2-ball", story="Attack in the L2 ball.", parts=(Plain,), request={"norm": "L2", "eps": "0.5"},
    ),
    Control(
        name="transfer-and-white-box", story="Show a transfer attack beside the white-box one.", parts=(Plain, Robust),
        request={"victim": "plain", "surrogate": "robust"},
    ),
    REAL,
)  # fmt: skip
