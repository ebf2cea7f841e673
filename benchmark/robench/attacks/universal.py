"""One change for all images: a perturbation that is added, or a patch that is painted, fitted by steps on the mean."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench.contracts.classifier import Classifier, input_gradient
from robench.contracts.patch_square import best_square, gains, square_at
from robench.contracts.threat_model import ThreatModel

#: The first step as a share of what a value may move by, and what of it is left after each.
FIRST, KEPT = 0.5, 0.8
#: Of an image's change, the share by which another may differ and still be the same: what rounding to bytes does.
SAME = 0.25
#: How far bytes may be from a painted colour.
ROUNDED = 1 / 255


class OneChange(NamedTuple):
    """Hold what is done to every image alike.

    Attributes:
        values: (1, C, H, W), what is added, or the colours that are painted.
        square: (1, 1, H, W) bool, where they are painted; None where they are added.
    """

    values: Tensor
    square: Tensor | None = None

    def on(self, images: Tensor, threat: ThreatModel) -> Tensor:
        """Return the images with the change, in the ball and the box."""
        if self.square is None:
            return threat.project(images, images + self.values)
        return self.values.expand_as(images).where(self.square, images).clamp(0.0, 1.0)


def universal(model: Classifier, images: Tensor, labels: Tensor, threat: ThreatModel, *, steps: int) -> OneChange:
    """Return the change that makes the mean cross-entropy of these images high: ``steps`` steps along its gradient.

    In Linf, L2 and L1 a perturbation, each step a share of eps along the steepest direction of the mean, moved back to
    the ball (Shafahi et al. 2020, arXiv 1811.11304). Of a patch the square in which the images gain most together where
    each value goes to its best colour, painted with those, then sign steps on its pixels. The change of highest mean
    loss counts. Each step costs an image a forward and a backward.
    """
    change = best = None
    highest = -torch.inf
    for step in range(steps + 1):
        at = images if change is None else change.on(images, threat)
        if step == steps:
            with torch.no_grad():
                losses = F.cross_entropy(model(at), labels, reduction="none")
            gradient = torch.zeros_like(images)
        else:
            losses, gradient = input_gradient(lambda x: F.cross_entropy(model(x), labels, reduction="none"), at)
        if change is not None and float(losses.mean()) > highest:
            highest, best = float(losses.mean()), change
        if step < steps:
            change = _stepped(change, images, gradient.nan_to_num(0.0), threat, FIRST * KEPT**step)
    return best or OneChange(torch.zeros_like(images[:1]))


def _stepped(change: OneChange | None, images: Tensor, gradient: Tensor, threat: ThreatModel, step: float) -> OneChange:
    """Return the change after a step along the mean gradient; the first chooses the square of a patch."""
    mean = gradient.mean(0, keepdim=True)
    if threat.norm == "patch":
        if change is None or change.square is None:
            total = gains(images, mean.expand_as(images)).mean(0, keepdim=True)
            square = square_at(best_square(total, int(threat.eps)), int(threat.eps), mean)
            return OneChange((mean > 0).to(mean), square)
        return OneChange((change.values + step * mean.sign()).clamp(0.0, 1.0), change.square)
    values = (change.values if change else 0.0) + (step if change else 1.0) * threat.eps * threat.steepest(mean)
    if threat.norm == "Linf":
        return OneChange(values.clamp(-threat.eps, threat.eps))
    length = threat.distance(values * 0.0, values).view(-1, 1, 1, 1)
    return OneChange(values * (threat.eps / length.clamp_min(threat.eps)))


def common_change(images: Tensor, moved: Tensor, threat: ThreatModel) -> OneChange:
    """Return the one change that explains best how the images became what they are, value by value.

    What is added is the median over images whose value did not end at an edge of the box, which hides what was added
    beyond; else the largest change seen. Of a patch, what is painted is the median colour where any image changed.
    """
    if threat.norm in ("patch", "L0"):
        changed = (moved != images).any(1, keepdim=True)
        colours = _median(moved.masked_fill(~changed.expand_as(moved), torch.nan)).nan_to_num(0.0)
        # What had the colour before counts as painted, too.
        painted = ((moved - colours).abs() <= ROUNDED).all(1, keepdim=True).float().mean(0, keepdim=True) > 0.5
        return OneChange(colours, painted & changed.any(0, keepdim=True))
    added = moved - images
    inside = added.masked_fill((moved <= 0) | (moved >= 1), torch.nan)
    largest = added.gather(0, added.abs().argmax(0, keepdim=True))
    middle = _median(inside)
    return OneChange(torch.where(middle.isnan(), largest, middle))


def _median(values: Tensor) -> Tensor:
    """Return the median over images of what is no NaN (1, C, H, W)."""
    middle: Tensor = values.cpu().nanmedian(dim=0, keepdim=True).values
    return middle.to(values.device)


def changed_otherwise(images: Tensor, moved: Tensor, change: OneChange, threat: ThreatModel) -> Tensor:
    """Return (N,) bool: which images were changed in another way than by ``change``."""
    expected = change.on(images, threat)
    gap, one, other = (
        (first - second).flatten(1).norm(dim=1)
        for first, second in ((moved, expected), (moved, images), (expected, images))
    )
    otherwise: Tensor = gap > SAME * one.maximum(other) + 1e-6
    return otherwise
