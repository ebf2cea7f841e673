"""Evaluations under patches that are smaller than stated, stay in one place, or lie where the defense waits."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench import Classifier, Task
from robench_traps.base import Plain, Shield, Steps, ascent
from robench_traps.few_pixels import masked_climb
from robench_traps.trap import trap

#: The side that is stated.
SIDE = "5"


def squares(tops: Tensor, lefts: Tensor, side: int, like: Tensor) -> Tensor:
    """Return (N, 1, H, W) bool: where the square of each image lies."""
    rows, columns = torch.arange(like.shape[2]), torch.arange(like.shape[3])
    tall = (rows >= tops[:, None]) & (rows < tops[:, None] + side)
    wide = (columns >= lefts[:, None]) & (columns < lefts[:, None] + side)
    return (tall[:, :, None] & wide[:, None, :])[:, None]


def promising(model: Classifier, images: Tensor, labels: Tensor, side: int) -> Tensor:
    """Return (N, 1, H, W) bool: the square in which a linearised model gains most where each value may be any."""
    slope = ascent(model, images, labels)
    gain = (slope * ((slope > 0).float() - images)).sum(1, keepdim=True)
    totals = F.avg_pool2d(gain, side, 1)
    best = totals.flatten(1).argmax(1)
    return squares(best // totals.shape[3], best % totals.shape[3], side, images)


class AtOnePlace(Steps):
    """Paint a square where a linearised model gains most, and climb its pixels there."""

    name = "patch-at-one-place"
    norms = ("patch",)
    steps = 20

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Look for the place, then climb."""
        if task.threat.eps == 0:
            return images.clone()
        mask = self.place(model, images, labels, task)
        return self.limited(images, masked_climb(model, images, labels, mask, self.steps))

    def place(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return (N, 1, H, W) bool: what is painted."""
        return promising(model, images, labels, int(task.threat.eps))

    def limited(self, images: Tensor, moved: Tensor) -> Tensor:
        """Return what is kept of the change."""
        return moved


class InTheCorner(AtOnePlace):
    """Paint the square in the upper left corner of every image, whatever it shows."""

    name = "patch-in-the-corner"

    def place(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Look nowhere."""
        zero = torch.zeros(1, dtype=torch.long)
        return squares(zero, zero, int(task.threat.eps), images)


class HalfTheSide(AtOnePlace):
    """Paint a square of half the stated side."""

    name = "patch-of-half-the-side"

    def place(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Halve."""
        return promising(model, images, labels, int(task.threat.eps) // 2)


class TwoSquares(AtOnePlace):
    """Paint a second square in the corner beside the first."""

    name = "two-patches"

    def place(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Add the corner."""
        zero = torch.zeros(1, dtype=torch.long)
        return super().place(model, images, labels, task) | squares(zero, zero, int(task.threat.eps), images)


class WithinLevels(AtOnePlace):
    """Hold the pixels of the square to 16 levels around the image's, as in the ball of another threat model."""

    name = "patch-within-16-levels"

    def limited(self, images: Tensor, moved: Tensor) -> Tensor:
        """Clip."""
        return moved.clamp(images - 16 / 255, images + 16 / 255)


class OneShortStep(AtOnePlace):
    """Take one step of a quarter of the range at one place, and call it a climb."""

    name = "patch-after-one-step"
    steps = 1


class GreySquare(AtOnePlace):
    """Cover the best place with grey: an occlusion, sold as the worst patch."""

    name = "grey-patch"
    source = "occlusion tests read as adversarial patches"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Cover."""
        if task.threat.eps == 0:
            return images.clone()
        return torch.where(self.place(model, images, labels, task), 0.5, images)


class MasksTheCorner(Shield):
    """Cover the corner in which the attack that is reported paints, and no other place."""

    name = "masks-the-corner"
    source = "patch defenses that are tried at the place they know"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Cover with black, as the border of the digits is."""
        zero, side = torch.zeros(1, dtype=torch.long), int(SIDE)
        logits: Tensor = network(torch.where(squares(zero, zero, side, images), 0.0, images))
        return logits


class FindsTheNoise(Shield):
    """Grey out the square that varies most, by a hard choice that no gradient passes."""

    name = "masks-what-varies"
    source = "Naseer et al. 2019, Local Gradients Smoothing; broken by Chiang et al. 2020, Certified Defenses"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Look for the largest differences between neighbours, and cover them."""
        side = int(SIDE)
        rough = F.pad((images[:, :, :, 1:] - images[:, :, :, :-1]).abs().mean(1, keepdim=True), (0, 1, 0, 0))
        totals = F.avg_pool2d(rough.detach(), side, 1)
        best = totals.flatten(1).argmax(1)
        mask = squares(best // totals.shape[3], best % totals.shape[3], side, images)
        mask &= totals.flatten(1).amax(1).view(-1, 1, 1, 1) > 0.2
        plain: Tensor = network(images)
        return network(torch.where(mask, 0.5, images)).detach() + 1e-3 * (plain - plain.detach())  # type: ignore[no-any-return]  # a network's


WEAK = ("stronger attack", "queries <= gradients", "noise <= gradients", "one step <= many steps")
TRAPS = (
    *(trap(part, *WEAK, alongside=(Plain,), norm="patch", eps=SIDE)
      for part in (InTheCorner, HalfTheSide, WithinLevels, OneShortStep, GreySquare)),
    trap(TwoSquares, "box and ball", alongside=(Plain,), norm="patch", eps=SIDE),
    trap(MasksTheCorner, *WEAK, alongside=(Plain, InTheCorner), norm="patch", eps=SIDE),
    trap(FindsTheNoise, *WEAK, "gradients true", "gradients useful", alongside=(Plain, AtOnePlace), norm="patch",
         eps=SIDE),
)  # fmt: skip
