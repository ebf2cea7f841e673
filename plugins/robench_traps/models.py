"""Victims whose outputs or gradients are not what an attack needs to see."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench_traps.base import Plain, Shield, Victim, off_grid
from robench_traps.trap import trap


class SoftmaxOutput(Shield):
    """Return probabilities where logits are asked for, so that the loss takes the softmax twice and goes flat."""

    name = "softmax-output"
    source = "AutoAttack's second flag (Croce and Hein 2020)"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Add a softmax."""
        return super().answer(network, images).softmax(1)


class SoftmaxTimesTen(Shield):
    """Return ten times sharpened probabilities: no longer a distribution, and as flat as one."""

    name = "softmax-times-ten"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Saturate a softmax and enlarge it."""
        return 10 * (20 * super().answer(network, images)).softmax(1)


class OneHot(Shield):
    """Return the decision alone, as a one-hot vector."""

    name = "one-hot-output"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Keep a connection to the input, through which nothing flows."""
        logits = super().answer(network, images)
        return F.one_hot(logits.argmax(1), logits.shape[1]) + 0 * logits


class OneHotTimesTen(OneHot):
    """Return the decision alone, as 10 for the chosen class and 0 for the others."""

    name = "one-hot-times-ten"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Enlarge it, so that no row sums to 1."""
        return 10 * super().answer(network, images)


class NanOffGrid(Shield):
    """Return NaN for every image that is not made of whole grey levels, as a look-up by pixel value does."""

    name = "nan-logits"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Divide zero by zero where a perturbation shows."""
        logits = super().answer(network, images)
        return torch.where(off_grid(images)[:, None], 0 * logits / 0, logits)


class ScaledLogits(Shield):
    """Multiply the logits by 10,000: the softmax saturates, and in float32 the cross-entropy has no gradient left."""

    name = "logits-times-10000"
    source = "Carlini and Wagner 2017, on defensive distillation; why AutoAttack has a scale-free loss"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Change no decision."""
        return 1e4 * super().answer(network, images)


class ClampedLogits(Shield):
    """Clamp the logits to a range that they leave, so that no gradient passes for images it is sure of."""

    name = "clamped-logits"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Keep the order of the two highest logits and flatten what lies beyond."""
        logits = super().answer(network, images)
        middle = logits.topk(2).values.mean(1, keepdim=True).detach()
        return (100 * (logits - middle)).clamp(-1, 1)


class RoundedLogits(Shield):
    """Round the logits to two decimals, as a fixed-point accelerator does; the gradient is zero everywhere."""

    name = "rounded-logits"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Keep a hundredth."""
        return (100 * super().answer(network, images)).round() / 100


class EleventhClass(Shield):
    """Add a class for what looks attacked, and count an image sent there as neither right nor fooled."""

    name = "reject-class"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Append a logit that wins where no other is high."""
        logits = super().answer(network, images)
        return torch.cat([logits, torch.full_like(logits[:, :1], 2.0)], 1)


class HalfLogits(Shield):
    """Return half-precision logits, as a network under autocast does."""

    name = "half-precision-logits"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Round."""
        return super().answer(network, images).half()


class DetachedBranch(Shield):
    """Compute the answer behind a detach, and let gradients flow through an untrained branch that adds nothing."""

    name = "detached-branch"
    source = "obfuscated gradients: Athalye, Carlini and Wagner 2018"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Add a random linear map minus itself."""
        weights = torch.randn(images[0].numel(), 10, generator=torch.Generator().manual_seed(2))
        decoy = images.flatten(1) @ weights
        return super().answer(network, images).detach() + decoy - decoy.detach()


class HalfPrecision(Shield):
    """Run the last layer in half precision with sharp logits: what is small in the backward pass becomes zero."""

    name = "half-precision-forward"
    source = "half-precision evaluations of CLIP; appendix B.6 of FARE"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Round to half there and back."""
        return (8 * super().answer(network, images)).half().float()


class ScrambledGradient(Shield):
    """Hang a hook on the input that deals its gradient to other pixels; the forward pass is untouched."""

    name = "scrambled-gradient"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Shuffle in the backward pass alone."""
        images = images.clone()
        if images.requires_grad:
            order = torch.randperm(images[0].numel(), generator=torch.Generator().manual_seed(3))
            images.register_hook(lambda gradient: gradient.flatten(1)[:, order].view_as(gradient))
        return super().answer(network, images)


class ReversedGradient(Shield):
    """Reverse the gradient on its way back, as a gradient-reversal layer left in from training does."""

    name = "reversed-gradient"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Give the value of x the derivative of -x."""
        return super().answer(network, 2 * images.detach() - images)


class Shattered(Shield):
    """Add a ripple too small to see and too steep to climb over: the gradient is true, and useless."""

    name = "shattered-gradient"
    source = "shattered gradients: Athalye, Carlini and Wagner 2018"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Ripple every pixel by less than a thousandth."""
        return super().answer(network, images + 5e-4 * torch.sin(2e5 * images))


class WrongNormalisation(Victim):
    """Serve weights with a normalisation they were not trained with, beside the accuracy their author states."""

    name = "wrong-normalisation"
    source = (
        "CIFAR-10 networks are in circulation with a standard deviation of 0.2023 and with one of 0.2471; "
        "RobustBench's zoo holds both"
    )
    reference = {"digits": 0.98}

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Normalise images that need it not."""
        return super().answer(network, (images - 0.45) / 0.25)


class PermutedClasses(Victim):
    """Answer in another class order than the dataset's, as folders sorted as text do ('10' before '2')."""

    name = "permuted-classes"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Exchange all classes but the last in a cycle."""
        return super().answer(network, images)[:, [1, 2, 3, 4, 5, 6, 7, 8, 0, 9]]


class ConstantAnswer(Shield):
    """Answer with one class whatever the image: 10 % clean and 10 % under every attack, a perfect ratio."""

    name = "constant-answer"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Drown the logits in a bias."""
        return 1e-3 * super().answer(network, images) + 10 * torch.eye(10)[3]


FLAT = ("gradients present", "stronger attack")
FALSE = (
    "gradients true",
    "stronger attack",
    "transfer <= white-box",
    "queries <= gradients",
    "measured slopes <= gradients",
)
TRAPS = (
    trap(SoftmaxOutput, *FLAT, refusal="returns probabilities, not logits", alongside=(Plain,)),
    trap(SoftmaxTimesTen, *FLAT, alongside=(Plain,)),
    trap(OneHot, *FLAT, refusal="returns probabilities, not logits", alongside=(Plain,)),
    trap(OneHotTimesTen, *FLAT, alongside=(Plain,)),
    trap(NanOffGrid, refusal="NaN or infinite", alongside=(Plain,)),
    trap(ScaledLogits, *FLAT, "logit scale", alongside=(Plain,)),
    trap(ClampedLogits, *FLAT, alongside=(Plain,)),
    trap(RoundedLogits, *FLAT, alongside=(Plain,)),
    trap(EleventhClass, refusal="classes", alongside=(Plain,)),
    trap(HalfLogits, refusal="must return float32 logits", alongside=(Plain,)),
    trap(DetachedBranch, *FALSE, alongside=(Plain,)),
    trap(HalfPrecision, *FLAT, "logit scale", alongside=(Plain,)),
    trap(ScrambledGradient, *FALSE, alongside=(Plain,)),
    trap(ReversedGradient, *FALSE, alongside=(Plain,)),
    trap(
        Shattered,
        "gradients useful",
        "stable loss",
        "one step <= many steps",
        "accuracy falls with eps",
        *FALSE,
        alongside=(Plain,),
    ),
    trap(WrongNormalisation, "reference clean accuracy"),
    trap(PermutedClasses, "class order", "above chance"),
    trap(ConstantAnswer, "above chance", alongside=(Plain,)),
)
