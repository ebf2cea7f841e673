"""Published defenses that stronger attacks broke, evaluated as their authors did: by gradients that do not see them."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench import input_gradient
from robench_builtins.datasets.digits import Digits
from robench_traps.base import Plain, Shield
from robench_traps.trap import trap


@cache
def mates() -> Tensor:
    """Return thirty training digits, three of each class (30, 3, 32, 32)."""
    train = Digits().load("train")
    rows = torch.cat([(train.labels == label).nonzero().flatten()[:3] for label in range(10)])
    return train[rows.tolist()].images().float() / 255


class MixupInference(Shield):
    """Mix the image with other images before the network sees it, by draws of which the attack never hears."""

    name = "mixup-inference"
    source = "Pang, Xu and Zhu 2020, Mixup Inference; broken by Tramèr et al. 2020, On Adaptive Attacks"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return the mean logits of five mixtures, as if the mixing could not be differentiated."""
        chosen = mates()[torch.randint(len(mates()), (5,))]
        mixed = [super(MixupInference, self).answer(network, 0.7 * images + 0.3 * mate) for mate in chosen]
        return torch.stack(mixed).mean(0)


class SaliencyMask(Shield):
    """Grey out the tenth of the pixels that matter most to the answer, by a mask that no gradient passes."""

    name = "saliency-mask"
    source = "input masking by saliency, as evaluated without differentiating the mask"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Look for the pixels, and cover them."""
        first = network(images).argmax(1).detach()
        _, gradient = input_gradient(lambda x: F.cross_entropy(network(x), first, reduction="none"), images.detach())
        matter = gradient.abs().sum(1, keepdim=True).flatten(1)
        least = matter.kthvalue(int(0.9 * matter.shape[1]), dim=1, keepdim=True).values
        keep = (matter <= least).view(-1, 1, *images.shape[2:])
        return super().answer(network, torch.where(keep, images.detach() + 0.02 * images - 0.02 * images.detach(), 0.5))


class BrightnessRouter(Shield):
    """Let a hard switch on the mean brightness decide which of two networks answers: the gradient sees one of them."""

    name = "brightness-router"
    source = "gating and routing defenses, whose switch is not differentiated"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Route every quarter of a grey level the other way, to a network whose gradient is turned round."""
        odd = (images.mean((1, 2, 3)) * 255 * 4).floor().long() % 2 == 1
        turned = super().answer(network, 2 * images.detach() - images)
        return torch.where(odd[:, None], turned, super().answer(network, images))


MASKED = (
    "gradients true",
    "gradients useful",
    "stronger attack",
    "queries <= gradients",
    "measured slopes <= gradients",
    "transfer <= white-box",
    "stable loss",
)
TRAPS = (
    trap(MixupInference, "deterministic", *MASKED, alongside=(Plain,)),
    trap(SaliencyMask, *MASKED, alongside=(Plain,)),
    trap(BrightnessRouter, *MASKED, alongside=(Plain,)),
)
