"""Evaluations in L0 that change fewer pixels than they may, or by less, or more of them, or lead nowhere."""

from __future__ import annotations

import torch
from torch import Tensor

from robench import Classifier, Task, ThreatModel
from robench_traps.base import Plain, Steps, ascent
from robench_traps.models import RoundedLogits, ScrambledGradient
from robench_traps.trap import trap

#: What may change: eight pixels of 1,024, to which the plain network loses three digits in four.
PIXELS = "8"


def greedy(model: Classifier, images: Tensor, labels: Tensor, pixels: int) -> Tensor:
    """Return the images after one pixel at a time has gone to the colour of steepest slope, found anew each time."""
    one, moved, changed = ThreatModel("L0", 1.0), images, torch.zeros_like(images[:, :1], dtype=torch.bool)
    for _ in range(pixels):
        with torch.no_grad():
            fooled = (model(moved).argmax(1) != labels).view(-1, 1, 1, 1)
        step = one.one_step(moved, ascent(model, moved, labels).masked_fill(changed, 0.0))
        moved = torch.where(fooled, moved, step)
        changed = changed | (moved != images).any(1, keepdim=True)
    return moved


class FewPixels(Steps):
    """Change one pixel after another, the one of steepest slope each time."""

    name = "pixel-by-pixel"
    norms = ("L0",)

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Climb."""
        return self.limited(images, greedy(model, images, labels, self.spent(int(task.threat.eps))))

    def spent(self, pixels: int) -> int:
        """Return how many of the allowed pixels are changed."""
        return pixels

    def limited(self, images: Tensor, moved: Tensor) -> Tensor:
        """Return what is kept of the change."""
        return moved


class AQuarterOfThePixels(FewPixels):
    """Change a quarter of the pixels that may be changed."""

    name = "a-quarter-of-the-pixels"

    def spent(self, pixels: int) -> int:
        """Divide."""
        return pixels // 4


class OneChannelOfPixels(FewPixels):
    """Change the red channel alone of each pixel, where all channels of a pixel count as one."""

    name = "one-channel-of-pixels"

    def limited(self, images: Tensor, moved: Tensor) -> Tensor:
        """Take back green and blue."""
        return torch.cat([moved[:, :1], images[:, 1:]], 1)


class PalePixels(FewPixels):
    """Hold the few pixels to 32 levels beside, so that what is sold as L0 is a ball within it."""

    name = "pale-pixels"
    source = "sparse and imperceptible attacks (Croce and Hein 2019), read as L0"

    def limited(self, images: Tensor, moved: Tensor) -> Tensor:
        """Clip."""
        return moved.clamp(images - 32 / 255, images + 32 / 255)


class TwiceThePixels(FewPixels):
    """Change twice as many pixels as are stated."""

    name = "twice-the-pixels"

    def spent(self, pixels: int) -> int:
        """Double."""
        return 2 * pixels


class OneDrawOfPixels(FewPixels):
    """Draw pixels and colours once, and call it a search."""

    name = "one-draw-of-pixels"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Ask the model afterwards."""
        moved = task.threat.from_uniform(images, task.uniform(images, "pixels").sign())
        with torch.no_grad():
            model(moved)
        return moved


class SameFewPixels(FewPixels):
    """Change the pixels of the middle in every image, and look for their colours alone."""

    name = "pixels-in-the-middle"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Climb behind a mask."""
        mask = torch.zeros_like(images[:1, :1], dtype=torch.bool)
        mask[:, :, 14:16, 14 : 14 + int(task.threat.eps) // 2] = True
        return masked_climb(model, images, labels, mask)


def masked_climb(model: Classifier, images: Tensor, labels: Tensor, mask: Tensor, steps: int = 20) -> Tensor:
    """Return the images after steps of a quarter of the whole range where ``mask`` (N or 1, 1, H, W) holds."""
    moved = images
    for _ in range(steps):
        with torch.no_grad():
            fooled = (model(moved).argmax(1) != labels).view(-1, 1, 1, 1)
        step = (moved + 0.25 * mask * ascent(model, moved, labels).sign()).clamp(0, 1)
        moved = torch.where(fooled, moved, step)
    return moved


class ScrambledForPixels(ScrambledGradient):
    """Scramble the gradient, by which an attack in L0 chooses its pixels."""

    name = "scrambled-for-pixels"


class RoundedForPixels(RoundedLogits):
    """Round the logits, so that an attack in L0 that climbs finds no pixel better than another."""

    name = "flat-for-pixels"


WEAK = (
    *("undefended victim falls", "stronger attack", "one step <= many steps"),
    *("queries <= gradients", "noise <= gradients"),
)  # fmt: skip
LED: tuple[str, ...] = (*WEAK, "gradients present", "gradients true", "gradients useful")
TRAPS = (
    trap(AQuarterOfThePixels, *WEAK, alongside=(Plain,), norm="L0", eps=PIXELS),
    trap(OneChannelOfPixels, *WEAK, alongside=(Plain,), norm="L0", eps=PIXELS),
    trap(PalePixels, *WEAK, alongside=(Plain,), norm="L0", eps=PIXELS),
    trap(TwiceThePixels, "box and ball", alongside=(Plain,), norm="L0", eps=PIXELS),
    trap(OneDrawOfPixels, *WEAK, alongside=(Plain,), norm="L0", eps=PIXELS),
    trap(SameFewPixels, *WEAK, alongside=(Plain,), norm="L0", eps=PIXELS),
    trap(ScrambledForPixels, *LED, alongside=(Plain, FewPixels), norm="L0", eps=PIXELS),
    trap(RoundedForPixels, *LED, alongside=(Plain, FewPixels), norm="L0", eps=PIXELS),
)
