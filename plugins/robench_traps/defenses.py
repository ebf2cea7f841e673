"""Defenses at test time that hide the gradient, declare the wrong one, or need an attack that nobody ran."""

from __future__ import annotations

import io
from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench import Classifier, Examples, Task, input_gradient, to_uint8
from robench_builtins.datasets.digits import Digits
from robench_traps.base import Plain, Shield, conv_net, learn, seeded
from robench_traps.trap import trap


class Quantise(Shield):
    """Round the pixels to four levels, which stops every gradient, and attack as if it did not."""

    name = "quantisation"
    source = "Guo et al. 2018, Countering Adversarial Images; broken by Athalye, Carlini and Wagner 2018"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Keep two bits."""
        return super().answer(network, (images * 3).round() / 3)


class Jpeg(Shield):
    """Send the image through a JPEG file, where no gradient comes back at all."""

    name = "jpeg"
    source = "Guo et al. 2018, Countering Adversarial Images; broken by Athalye, Carlini and Wagner 2018"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Write and read a file for each image."""
        return super().answer(network, torch.stack([jpeg(image) for image in images.detach()]))


def jpeg(image: Tensor, quality: int = 50) -> Tensor:
    """Return one image (C, H, W) as it comes back from a JPEG file."""
    from PIL import Image

    file = io.BytesIO()
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return to_uint8(Image.open(file)).float() / 255


class Thermometer(nn.Module):
    """Encode each pixel as the ten thresholds it exceeds."""

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, 10 C, H, W) of zeros and ones."""
        return torch.cat([(images > level / 10).float() for level in range(10)], 1) + 0 * images.repeat(1, 10, 1, 1)


class ThermometerEncoding(Shield):
    """Train on thermometer codes of the pixels, through which a gradient is zero everywhere."""

    name = "thermometer-encoding"
    source = "Buckman et al. 2018, Thermometer Encoding; broken by Athalye, Carlini and Wagner 2018"

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Put the code before a network of its own."""
        network = seeded(lambda: conv_net(channels=30)).requires_grad_(True)
        victim.network = nn.Sequential(Thermometer(), network)
        return victim

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Train it on clean images."""
        learn(defended, train, epochs=4)


class ResizeAndPad(Shield):
    """Shrink the image to a random size and pad it at a random place, and average over no draw while attacking."""

    name = "random-resize-and-pad"
    source = "Xie et al. 2018, Mitigating Adversarial Effects Through Randomization; broken by Athalye et al. 2018"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Draw size and place from the global generator."""
        side = int(torch.randint(29, 32, ()))
        left, top = (int(torch.randint(0, 32 - side + 1, ())) for _ in range(2))
        small = F.interpolate(images, (side, side), mode="nearest")
        return super().answer(network, F.pad(small, (left, 32 - side - left, top, 32 - side - top)))


@cache
def subspace() -> Tensor:
    """Return the training digits' first 64 principal directions (64, 3072)."""
    images = Digits().load("train").images().flatten(1).float() / 255
    directions: Tensor = torch.linalg.svd(images, full_matrices=False).Vh
    return directions[:64]


class Purify(Shield):
    """Project the image onto the clean images' subspace, and let gradients pass as if it had been left alone."""

    name = "purification-as-identity"
    source = (
        "non-adaptive evaluations of purification; Croce et al. 2022, Evaluating the Adversarial Robustness of ATTD"
    )

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Give the projection the derivative of the identity."""
        pure = (images.detach().flatten(1) @ subspace().T @ subspace()).view_as(images)
        return super().answer(network, images + pure - images.detach())


class AntiAdversary(Shield):
    """Make the network surer of its first answer by steps inside forward, and hide them from the attack's gradient."""

    name = "counter-attack-inside"
    source = "Alfarra et al. 2022, Anti-Adversaries, and TTC; broken by Croce et al. 2022"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Counter-attack, detached, and round away what is left of a gradient's smoothness."""
        first = super().answer(network, images).argmax(1).detach()
        moved = images.detach()
        for _ in range(4):
            _, gradient = input_gradient(lambda x: F.cross_entropy(network(x), first, reduction="none"), moved)
            moved = (moved - 16 / 255 * gradient.sign()).clamp(0, 1)
        return super().answer(network, images + (moved - images).detach())


class Votes(Shield):
    """Let nine shifted copies of the image vote, and return the votes, which have no gradient."""

    name = "majority-vote"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Count, and keep a connection through which nothing flows."""
        logits = [
            super(Votes, self).answer(network, images.roll((i, j), (2, 3))) for i in (-1, 0, 1) for j in (-1, 0, 1)
        ]
        votes = sum(F.one_hot(found.argmax(1), found.shape[1]) for found in logits)
        return votes + 0 * logits[0]


class HalfDetached(Shield):
    """Detach every second column of the image, so that the attack never learns about half of its pixels."""

    name = "half-of-the-gradient"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Let gradients into the even columns alone."""
        even = (torch.arange(images.shape[3]) % 2 == 0).float()
        return super().answer(network, images * even + images.detach() * (1 - even))


class WithoutGrad(Shield):
    """Answer under no_grad, so that a gradient attack raises and a careless loop counts it as a failure to attack."""

    name = "answers-under-no-grad"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Record nothing."""
        with torch.no_grad():
            return super().answer(network, images)


class WrongStraightThrough(Shield):
    """Declare a straight-through quantiser whose backward pass has the wrong sign."""

    name = "wrong-straight-through"
    gradient = "straight-through"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Give the rounding the derivative of -x."""
        coarse = ((images * 3).round() / 3).detach()
        return super().answer(network, coarse - images + images.detach())


class DeclaresNone(Shield):
    """Declare that there is no gradient, in the hope of a gradient-free attack, where plain gradients exist."""

    name = "declares-no-gradient"
    gradient = "none"


class DeclaresRandomized(Shield):
    """Declare randomness that is not there, in the hope of a mean over draws and a wider interval."""

    name = "declares-randomness"
    randomized = True


class OtherAdaptive(Quantise):
    """Offer the harness a differentiable path that answers as another model does."""

    name = "another-adaptive-path"
    gradient = "straight-through"

    def adaptive(self, defended: Classifier, task: Task) -> Classifier:
        """Return a model that no input can sway."""
        return Classifier(Blind(), classes=len(task.classes))


class Blind(nn.Module):
    """Answer by the sum of all pixels."""

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, 10) that differ by a constant from class to class."""
        return images.flatten(1).sum(1, keepdim=True) + torch.arange(10.0)


FLAT = ("gradients present", "stronger attack", "gradients true", "transfer <= white-box")
FALSE = ("gradients true", "declared gradient", "stronger attack")
TRAPS = (
    trap(Quantise, *FLAT, alongside=(Plain,)),
    trap(Jpeg, refusal="carry no gradient back", alongside=(Plain,)),
    trap(ThermometerEncoding, *FLAT, alongside=(Plain,)),
    trap(
        ResizeAndPad, "deterministic", "batch-mates", "same answer while attacked", "re-score from disk",
        alongside=(Plain,),
    ),
    trap(Purify, *FALSE, alongside=(Plain,), eps="24/255"),
    trap(AntiAdversary, *FALSE, alongside=(Plain,)),
    trap(Votes, *FLAT, alongside=(Plain,)),
    trap(HalfDetached, *FALSE, alongside=(Plain,)),
    trap(WithoutGrad, refusal="carry no gradient back", alongside=(Plain,)),
    trap(
        WrongStraightThrough, "straight-through path", "transfer <= white-box", "queries <= gradients",
        "measured slopes <= gradients", *FALSE,
        alongside=(Plain,),
    ),
    trap(DeclaresNone, "declared gradient", "gradients present", alongside=(Plain,), n=30),
    trap(DeclaresRandomized, "deterministic", alongside=(Plain,)),
    trap(OtherAdaptive, "straight-through path", alongside=(Plain,)),
)  # fmt: skip
