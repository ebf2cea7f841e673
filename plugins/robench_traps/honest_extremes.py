"""Honest evaluations at the edge of what a check can tell: few images, large slopes, low precision, true robustness."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from robench import Classifier, Control, Task
from robench_builtins.datasets.digits import Digits
from robench_traps.base import Plain, Robust, Shield, Victim, conv_net, learn, seeded
from robench_traps.data import Altered
from robench_traps.trap import control


class Root(nn.Module):
    """Decode the gamma of the image, with a slope that is infinite at black."""

    def forward(self, images: Tensor) -> Tensor:
        """Return x ** (1 / 2.2)."""
        return images ** (1 / 2.2)


@cache
def gamma() -> nn.Module:
    """Return a network behind a root."""
    return learn(seeded(lambda: nn.Sequential(Root(), *conv_net())), Digits().load("train"))


class Gamma(Victim):
    """Take the root x ** (1 / 2.2) of the pixels first, whose slope is infinite at black."""

    name = "honest-gamma"

    def network(self) -> nn.Module:
        """Return the trained network."""
        return gamma()


class HundredNames(Altered):
    """Serve ten classes under a hundred names."""

    name = "hundred-names"

    def classes(self) -> tuple[str, ...]:
        """Return ten names that occur, and ninety that do not."""
        return (*Digits().classes(), *(f"unused {place}" for place in range(90)))


@cache
def wide() -> nn.Module:
    """Return a network of a hundred outputs, of which training shows ten."""
    return learn(seeded(lambda: conv_net(classes=100)), Digits().load("train"))


class Hundred(Victim):
    """Answer with a hundred outputs where ten classes occur, as a head made for more of them does."""

    name = "honest-hundred-outputs"

    def load(self, task: Task) -> Classifier:
        """Return the classifier."""
        return Classifier(wide(), classes=100)


class LowPrecision(Shield):
    """Compute in bfloat16 under autocast, and return float32."""

    name = "honest-bfloat16"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Let autocast choose."""
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            logits: Tensor = network(images)
        return logits.float()


class WinnersTakeAll(nn.Module):
    """Keep a tenth of the activations of a layer, the largest ones, and set the others to zero."""

    def forward(self, features: Tensor) -> Tensor:
        """Return features (N, ...) with nine tenths of each image's at zero."""
        flat = features.flatten(1)
        least = flat.kthvalue(flat.shape[1] - flat.shape[1] // 10, dim=1, keepdim=True).values
        return torch.where(flat > least, flat, torch.zeros_like(flat)).view_as(features)


@cache
def winners() -> nn.Module:
    """Return the plain network with k-WTA for ReLU, trained on clean images."""

    def build() -> nn.Sequential:
        network = conv_net()
        layers = [WinnersTakeAll() if isinstance(layer, nn.ReLU) else layer for layer in network]
        return nn.Sequential(*layers)

    return learn(seeded(build), Digits().load("train"))


class KWinners(Victim):
    """Let the largest tenth of each layer through (k-WTA): the loss has steps, and here PGD gets over them."""

    name = "k-winners-take-all"
    source = "Xiao, Zhong and Zheng 2020, Enhancing Adversarial Defense by k-WTA; broken by Tramèr et al. 2020"

    def network(self) -> nn.Module:
        """Return the trained network."""
        return winners()


CONTROLS = (
    control(Gamma),
    control(KWinners),
    control(Hundred, alongside=(HundredNames,)),
    control(LowPrecision, alongside=(Plain,)),
    Control(
        name="few-images", story="Attack a network that nothing defends with 40 images, of which a few stand.",
        parts=(Plain,), request={"eps": "4/255", "n": 40},
    ),
    Control(
        name="very-few-images", story="Attack an adversarially trained network with 12 images.",
        parts=(Robust,), request={"victim": "robust", "n": 12, "eps": "24/255"},
    ),
    Control(
        name="holds-by-itself", story="Attack a robust network that nothing defends at a radius where it holds.",
        parts=(Robust,), request={"victim": "robust", "eps": "2/255"},
    ),
)  # fmt: skip
