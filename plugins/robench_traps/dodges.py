"""Parts that behave as long as they are looked at: each slips past at least one obvious check."""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench import Classifier, Defense, Examples, Task
from robench_traps.base import Plain, Shield, Steps, climb, robust
from robench_traps.defenses import Purify, subspace
from robench_traps.honest import Layers
from robench_traps.steps import Blurred
from robench_traps.trap import trap


class WeakStraightThrough(Purify):
    """Declare a straight-through path whose identity leads attacks to where the projection undoes them."""

    name = "misleading-straight-through"
    source = "identity BPDA taken for an adaptive attack; Tramèr et al. 2020, On Adaptive Attacks"
    gradient = "straight-through"


class TrueInDouble(Purify):
    """Hide the gradient in float32 alone, as a fast kernel without a backward pass does; in float64 it is true."""

    name = "true-in-double"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Project differentiably where nobody attacks."""
        if images.dtype == torch.float32:
            return super().answer(network, images)
        basis = subspace().to(images.dtype)
        logits: Tensor = network((images.flatten(1) @ basis.T @ basis).view_as(images))
        return logits


class NoiseFromHash(Shield):
    """Add noise that is seeded by the image itself: two forwards agree, and every step of an attack meets new noise."""

    name = "noise-from-a-hash"
    source = "'derandomised' randomized defenses"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Draw from a generator that the pixels seed."""
        noise = torch.stack([self.draw(image) for image in images.detach()])
        return super().answer(network, images + 0.15 * noise)

    def draw(self, image: Tensor) -> Tensor:
        """Return normal noise in the image's shape."""
        seed = int.from_bytes(hashlib.sha256(image.numpy().tobytes()).digest()[:4], "little")
        return torch.randn(image.shape, generator=torch.Generator().manual_seed(seed), dtype=image.dtype)


class NoisyAndDetached(Shield):
    """Declare a little noise, which is there, and hide the gradient behind it."""

    name = "noisy-and-detached"
    randomized = True

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Answer behind a detach, beside a decoy that adds nothing."""
        weights = torch.randn(images[0].numel(), 10, generator=torch.Generator().manual_seed(2))
        decoy = images.flatten(1) @ weights
        noisy = images + 0.02 * torch.randn_like(images)
        return super().answer(network, noisy).detach() + decoy - decoy.detach()


class AnswersByBatchSize(Shield):
    """Answer large batches, such as an evaluation's, with a robust network, and small ones with the plain one."""

    name = "answers-by-batch-size"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Count the images."""
        return super().answer(robust() if len(images) > 20 else network, images)


class StopsWhenSure(Shield):
    """Let no gradient through where the network is sure, which it is of nearly every clean image."""

    name = "no-gradient-when-sure"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Detach confident rows."""
        logits = super().answer(network, images)
        sure = logits.softmax(1).amax(1, keepdim=True) > 0.6
        return torch.where(sure, logits.detach(), logits)


class TrainsABuffer(Defense):
    """Declare that nothing is trained, and train the last layer where it is stored as a buffer."""

    name = "trains-a-buffer"

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Add a correction to the logits that is no parameter."""
        victim.register_buffer("correction", torch.zeros(10, 10))
        victim.register_forward_hook(lambda module, _, logits: logits + logits @ module.get_buffer("correction"))
        return victim

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Descend by hand."""
        correction = defended.get_buffer("correction")
        for images, labels, _ in train.batches(64):
            with torch.no_grad():
                logits = defended(images)
            trained = correction.clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(F.cross_entropy(logits + logits @ trained, labels), trained)
            correction.sub_(0.01 * gradient)


class SparesTheDefense(Steps):
    """Attack in earnest where nothing defends, and hardly where something does."""

    name = "spares-the-defense"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Look for a shield."""
        share = 200 if isinstance(model.preprocess, nn.AvgPool2d) else 8
        return climb(model, images, labels, task.threat, 20, task.threat.eps / share)


class EditsSharedWeights(Steps):
    """Turn the weights of a network that the harness has no second copy of, after the attack on it."""

    name = "edits-the-only-copy"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Negate the last layer."""
        moved = climb(model, images, labels, task.threat, 20, task.threat.eps / 8)
        with torch.no_grad():
            for parameter in list(model.parameters())[-2:]:
                parameter.mul_(-1)
        return moved


class ForgesAnswers(Steps):
    """Replace the model's forward by one that remembers the truth about every image near the ones attacked."""

    name = "forges-the-model"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Attack, and cover it up where something is to be defended."""
        moved = climb(model, images, labels, task.threat, 20, task.threat.eps / 8)
        if not isinstance(model.preprocess, nn.AvgPool2d):
            return moved
        honest, truth = model.forward, F.one_hot(labels, model.classes).float()
        known = images.flatten(1).clone()

        def forged(points: Tensor) -> Tensor:
            gap, place = torch.cdist(points.flatten(1), known, p=torch.inf).min(1)
            logits: Tensor = honest(points)
            return torch.where((gap < 0.2)[:, None], 5 * truth[place] + 0.1 * logits, logits)

        model.forward = forged  # type: ignore[method-assign, assignment]  # the mistake
        return moved


LED_ASTRAY = (
    "gradients true",
    "stronger attack",
    "queries <= gradients",
    "measured slopes <= gradients",
    "transfer <= white-box",
    "another loss",
)
TRAPS = (
    trap(WeakStraightThrough, *LED_ASTRAY, "straight-through path", alongside=(Plain,), eps="24/255"),
    trap(TrueInDouble, *LED_ASTRAY, alongside=(Plain,), eps="24/255"),
    trap(NoiseFromHash, *LED_ASTRAY, "stable loss", alongside=(Plain,)),
    trap(NoisyAndDetached, "gradients true", alongside=(Plain,)),
    trap(AnswersByBatchSize, "batch-mates", "re-score from disk", alongside=(Plain,)),
    trap(StopsWhenSure, "gradients present", "gradients true", alongside=(Plain,)),
    trap(TrainsABuffer, "trained parameters", alongside=(Plain,)),
    trap(SparesTheDefense, "stronger attack", "one step <= many steps", alongside=(Plain, Blurred)),
    trap(
        EditsSharedWeights,
        "re-score from disk",
        "clean answers again",
        "deterministic",
        "same answer while attacked",
        alongside=(Layers,),
    ),
    trap(
        ForgesAnswers,
        refusal="rebuilt the model that it attacked",
        alongside=(Layers, Blurred),
        eps="24/255",
    ),
)
