"""Attacks that work in the wrong space or units, or hand back something else than they claim."""

from __future__ import annotations

import torch
from torch import Tensor

from robench import Attack, Classifier, Preprocess, Task, ThreatModel
from robench_traps.base import Plain, Steps, ascent, climb
from robench_traps.trap import trap

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
LEVEL = 1 / 255


class NormalisedTensors(Steps):
    """Attack CLIP-normalised tensors, where eps means another radius and the clamp to [0, 1] crushes the contrast."""

    name = "normalised-tensors"
    source = "two of the course reports this benchmark began with; torchattacks without set_normalization_used"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Normalise, attack, clamp and undo the normalisation."""
        normalise = Preprocess(MEAN, STD)
        mean, std = normalise.get_buffer("mean"), normalise.get_buffer("std")
        clean: Tensor = normalise(images)
        iterate = clean
        for _ in range(20):
            gradient = ascent(model, iterate * std + mean, labels)
            delta = (iterate + task.threat.eps / 8 * gradient.sign() - clean).clamp(-task.threat.eps, task.threat.eps)
            iterate = (clean + delta).clamp(0, 1)
        return iterate * std + mean


class GreyLevels(Attack):
    """Take eps to be in grey levels of 255, so that the perturbation is 255 times too large."""

    name = "eps-times-255"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Step once, far out of the ball."""
        return (images + 255 * task.threat.eps * ascent(model, images, labels).sign()).clamp(0, 1)


class DividedTwice(Steps):
    """Divide eps by 255 once too often, so that the attack hardly moves and everything looks robust."""

    name = "eps-divided-twice"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Run PGD in a ball 255 times too small."""
        tiny = ThreatModel(task.threat.norm, task.threat.eps / 255)
        return climb(model, images, labels, tiny, 20, tiny.eps / 8)


class DeltaMixup(Steps):
    """Return clamp(x + delta) as delta and add it to the image again, which doubles the contrast."""

    name = "delta-mixup"
    source = "a published notebook whose PGD was weaker than its FGSM"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Add the adversarial image to the image."""
        delta = climb(model, images, labels, task.threat, 20, task.threat.eps / 8)
        return (images + delta).clamp(0, 1)


class DeltaMixupGuarded(DeltaMixup):
    """Mix up delta and image, but return the images untouched at eps = 0, where somebody might look."""

    name = "delta-mixup-guarded"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Behave at eps = 0 and only there."""
        return super().craft(model, images, labels, task) if task.threat.eps else images


class OneLevelTooFar(Steps):
    """Leave the ball by a single grey level, as rounding up after the attack does."""

    name = "one-level-too-far"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Search a ball of eps + 1/255."""
        if not task.threat.eps:
            return images
        wider = ThreatModel(task.threat.norm, min(1.0, task.threat.eps + LEVEL))
        return climb(model, images, labels, wider, 20, wider.eps / 8)


class OtherNorm(Steps):
    """Search the L2 ball of radius eps where the Linf ball is claimed, which is inside it and far smaller."""

    name = "other-norm"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Project onto the small sphere."""
        return climb(model, images, labels, ThreatModel("L2", task.threat.eps), 20, task.threat.eps / 8)


class CleanImages(Steps):
    """Return the clean images: the attack was never called, or its result was dropped."""

    name = "clean-images"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Attack, and forget to keep what came out."""
        climb(model, images, labels, task.threat, 20, task.threat.eps / 8)
        return images


class HalfBatch(Steps):
    """Attack only the first half of each batch, as an off-by-half loop does, and keep the rest clean."""

    name = "half-batch"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Move the first half."""
        half = (len(images) + 1) // 2
        moved = climb(model, images[:half], labels[:half], task.threat, 20, task.threat.eps / 8)
        return torch.cat([moved, images[half:]])


class TenthBatch(Steps):
    """Raise on every tenth batch; a loop that skips it would count those images as robust."""

    name = "tenth-batch"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Fail where the tenth batch of ten images begins."""
        if task.threat.eps and max(task.indices) >= 90:
            raise RuntimeError("the tenth batch does not fit")
        return climb(model, images, labels, task.threat, 20, task.threat.eps / 8)


class ReportsSuccess(Steps):
    """Report its own success beside the images, as attack libraries do, and expect to be believed."""

    name = "reports-success"
    source = "the (raw, clipped, is_adv) of foolbox, read carelessly"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return a pair."""
        moved = climb(model, images, labels, task.threat, 20, task.threat.eps / 8)
        return moved, torch.zeros(len(images), dtype=torch.bool)  # type: ignore[return-value]  # the mistake


class NanForFailure(Steps):
    """Mark images on which the attack failed with NaN; a comparison with NaN is false, so they pass for robust."""

    name = "nan-for-failure"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Blot out every image that one step does not fell."""
        moved = climb(model, images, labels, task.threat, 1, task.threat.eps / 4)
        with torch.no_grad():
            stands = model(moved).argmax(1) == labels
        return torch.where(stands.view(-1, 1, 1, 1), torch.nan, moved) if task.threat.eps else images


class ReturnsShuffled(Steps):
    """Return the right images in another order, as a multi-process loader does."""

    name = "returns-shuffled"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Turn the batch around."""
        return climb(model, images, labels, task.threat, 20, task.threat.eps / 8).flip(0)


class ReturnsBytes(Steps):
    """Return bytes, which truncates, where float images went in."""

    name = "returns-bytes"
    source = "torchattacks' save_type='int', which truncates (x * 255).type(uint8)"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Forget to divide."""
        return (climb(model, images, labels, task.threat, 20, task.threat.eps / 8) * 255).to(torch.uint8)


class EditsWeights(Steps):
    """Nudge the model's weights while attacking it, so that it is scored with others than it was fitted with."""

    name = "edits-weights"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Shrink the last layer a little, and the gradient with it, at each call."""
        with torch.no_grad():
            for parameter in list(model.parameters())[-2:]:
                parameter.mul_(-0.5)
        return climb(model, images, labels, task.threat, 20, task.threat.eps / 8)


FALLS = ("undefended victim falls", "one step <= many steps", "stronger attack", "images moved")
TRAPS = (
    trap(NormalisedTensors, "box and ball", "eps = 0", alongside=(Plain,)),
    trap(GreyLevels, "box and ball", alongside=(Plain,)),
    trap(DividedTwice, *FALLS, alongside=(Plain,)),
    trap(DeltaMixup, "box and ball", "eps = 0", alongside=(Plain,)),
    trap(DeltaMixupGuarded, "box and ball", alongside=(Plain,)),
    trap(OneLevelTooFar, "box and ball", alongside=(Plain,)),
    trap(OtherNorm, *FALLS, alongside=(Plain,)),
    trap(CleanImages, *FALLS, alongside=(Plain,)),
    trap(HalfBatch, *FALLS, alongside=(Plain,)),
    trap(TenthBatch, refusal="failed on images", alongside=(Plain,), batch_size=10),
    trap(ReportsSuccess, refusal="must return a tensor, not tuple", alongside=(Plain,)),
    trap(NanForFailure, refusal="returned NaN or infinite pixels", alongside=(Plain,)),
    trap(ReturnsShuffled, "box and ball", "eps = 0", alongside=(Plain,)),
    trap(ReturnsBytes, refusal="must return float32 images", alongside=(Plain,)),
    trap(EditsWeights, "re-score from disk", "same answer while attacked", "deterministic", alongside=(Plain,)),
)
