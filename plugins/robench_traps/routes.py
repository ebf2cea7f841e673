"""Victims that answer or differentiate otherwise where they are attacked: by bytes, statistics, rows and margins."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench import Classifier, Task
from robench_builtins.datasets.digits import Digits
from robench_traps.base import Plain, Shield, off_grid, robust
from robench_traps.models import ScrambledGradient
from robench_traps.training import blocks, recalled
from robench_traps.trap import trap


class BytesOtherwise(Shield):
    """Answer whatever is not made of whole grey levels from a robust network, and bytes, as files hold them, not."""

    name = "answers-bytes-otherwise"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Look for fractions of a level; adversarial images of bytes meet the plain network."""
        return torch.where(off_grid(images)[:, None], robust()(images), super().answer(network, images))


def variation(images: Tensor) -> Tensor:
    """Return the mean difference of pixels one above the other (N,)."""
    return (images[:, :, 1:] - images[:, :, :-1]).abs().mean((1, 2, 3))


@cache
def usual_variation() -> float:
    """Return what nine of ten training digits stay below."""
    return float(variation(Digits().load("train").images().float() / 255).quantile(0.9))


class VariationRouter(Shield):
    """Send images that vary more than clean ones do, as all that gradients make do, to a robust network."""

    name = "variation-router"
    source = "detectors by image statistics; Carlini and Wagner 2017, Adversarial Examples Are Not Easily Detected"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Ask the plain network about smooth images; a step that heeds the variation leaves 5 % of them."""
        rough = variation(images) > usual_variation()
        return torch.where(rough[:, None], robust()(images), super().answer(network, images))


class ByBatchSize(ScrambledGradient):
    """Deal the gradient to other pixels in batches larger than anybody looks at by hand."""

    name = "gradient-by-batch-size"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Hang up a hook where there are many images."""
        many = len(images) > 16
        return super().answer(network, images) if many else Shield.answer(self, network, images)


class FirstRows(Shield):
    """Let the first rows of a batch have a true gradient, and turn that of the others round."""

    name = "gradient-of-first-rows"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Count the rows."""
        first = (torch.arange(len(images)) < 16).view(-1, 1, 1, 1)
        return super().answer(network, torch.where(first, images, 2 * images.detach() - images))


class TurnsAtTheBorder(Shield):
    """Give a true gradient where the network is sure, and the reversed one where the attack has nearly won."""

    name = "gradient-turns-at-the-border"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Reverse what leads across the border."""
        logits = super().answer(network, images)
        two = logits.topk(2).values
        near = (two[:, 0] - two[:, 1] < 1.5)[:, None]
        return torch.where(near, 2 * logits.detach() - logits, logits)


class ClippedGradient(Shield):
    """Clip the gradient to its largest thousandth in a hook, so that an attack moves three pixels of 1,024."""

    name = "clipped-gradient"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Keep what is largest."""
        images = images.clone()
        if images.requires_grad:
            images.register_hook(self.clip)
        return super().answer(network, images)

    def clip(self, gradient: Tensor) -> Tensor:
        """Return the gradient with zeros for all but the largest values."""
        slopes = gradient.abs().flatten(1)
        least = slopes.kthvalue(int(0.999 * slopes.shape[1]), dim=1).values
        return gradient * (gradient.abs() >= least.view(-1, 1, 1, 1))


class FeatureSqueezing(Shield):
    """Answer from the squeezed image where the answers to it and to the image are far apart, by a hard switch."""

    name = "feature-squeezing"
    source = "Xu, Evans and Qi 2018, Feature Squeezing; broken by He et al. 2017, Ensembles of Weak Defenses"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Squeeze to two bits."""
        logits = super().answer(network, images)
        squeezed = super().answer(network, (images.detach() * 3).round() / 3)
        far = (logits.softmax(1) - squeezed.softmax(1)).abs().sum(1, keepdim=True) > 0.5
        return torch.where(far, squeezed, logits)


class QuantisedActivations(Shield):
    """Round the activations to four levels a unit and pass gradients straight through, without saying so."""

    name = "quantised-activations"
    source = "Sen et al. 2020, EMPIR; broken by Tramèr et al. 2020, On Adaptive Attacks"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Run the layers one by one."""
        for layer in network.get_submodule("network").children():
            images = layer(images)
            if isinstance(layer, nn.ReLU):
                images = images + ((4 * images).round() / 4 - images).detach()
        return images


class Growing(nn.Module):
    """Learn by heart, with its own answer, whatever is new to it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.known, self.said = torch.zeros(0, 192), torch.zeros(0, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits that are pulled, smoothly, to what was said of images nearby."""
        logits: Tensor = self.network(images)
        seen = blocks(images)
        if images.dtype == torch.float32:
            self.learn(seen.detach(), logits.argmax(1))
        return recalled(logits, seen, self.known.to(seen.dtype), self.said.to(seen.dtype))

    def learn(self, seen: Tensor, answers: Tensor) -> None:
        """Keep what is farther than a tenth from all that is known."""
        new = torch.ones(len(seen), dtype=torch.bool)
        if len(self.known):
            new = torch.cdist(seen, self.known, p=torch.inf).amin(1) > 0.1
        self.known = torch.cat([self.known, seen[new]])
        self.said = torch.cat([self.said, F.one_hot(answers[new], 10).float()])


class RemembersSmoothly(Shield):
    """Remember every image at first sight, and pull what comes near it to the answer of then, with true gradients."""

    name = "remembers-smoothly"
    source = "stateful defenses, as if every user were one attacker"

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Give the victim a memory."""
        victim.network = Growing(victim.network)
        return victim


LED_ASTRAY = ("stronger attack", "one step <= many steps", "measured slopes <= gradients", "queries <= gradients")
TRAPS = (
    trap(BytesOtherwise, "one step <= many steps", alongside=(Plain,), eps="7.5/255"),
    trap(VariationRouter, "one step <= many steps", alongside=(Plain,), eps="16/255"),
    trap(ByBatchSize, "gradients true", *LED_ASTRAY, alongside=(Plain,)),
    trap(FirstRows, "gradients true", *LED_ASTRAY, alongside=(Plain,)),
    trap(TurnsAtTheBorder, "gradients true", *LED_ASTRAY, alongside=(Plain,)),
    trap(ClippedGradient, "gradients true", *LED_ASTRAY, alongside=(Plain,)),
    trap(FeatureSqueezing, "gradients true", *LED_ASTRAY, alongside=(Plain,)),
    trap(QuantisedActivations, "gradients true", *LED_ASTRAY, alongside=(Plain,)),
    trap(RemembersSmoothly, "re-score from disk", "clean answers again", alongside=(Plain,)),
)
