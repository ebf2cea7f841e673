"""A model for which one perturbation is the worst for every image, so that the best universal one is known."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from robench import ThreatModel
from robench_exam.ground import PIXELS, Cases, Floats, Ground, as_images, random_images, rounded, tensor
from robench_exam.linear_maps import IMAGES, lowest

#: Images that an attack of one perturbation may be fitted on.
TRAINING = 200
#: How far below an image's own class the other of the two lies, in radii of the ball.
APART = 4.0


class TwoHalves(nn.Module):
    """Answer class 0 by the upper half of the image, 1 by the lower half, or 2 where both logits are negative."""

    def __init__(self, weights: Tensor, offsets: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)
        self.register_buffer("offsets", offsets)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 3) of images (N, C, H, W)."""
        halves = images.flatten(1) @ self.weights.T - self.get_buffer("offsets")
        return torch.cat([halves, torch.zeros_like(halves[:, :1])], 1)


def two_halves(threat: ThreatModel) -> Ground:
    """Return two classes that fall to a third, each by its own half of the pixels.

    What lowers both halves is the worst for an image of either class: no image comes near the other half's class, and
    the third one's logit is fixed. So the perturbation that goes against both weights fells all that can fall.
    """
    generator = np.random.default_rng(7)
    upper = np.tile(np.repeat([1.0, 0.0], PIXELS // 6), 3)
    raw = generator.standard_normal(PIXELS) * np.stack([upper, 1 - upper])
    weights = rounded(raw / (threat.eps * np.abs(raw).sum(1, keepdims=True)))  # the ball spans [-1, 1] of each logit
    offsets = weights.sum(1).astype(np.float32).astype(np.float64) / 2
    cases, train, labels = Cases.upto(IMAGES, 1e-3), list[Floats](), list[int]()
    for place, image in enumerate(random_images(generator, 6 * IMAGES + TRAINING)):
        label = place % 2
        wanted = np.where(np.arange(2) == label, generator.uniform(0.05, 2), -APART)
        moved = rounded(np.clip(image + _step(image, weights, offsets, wanted), 0, 1))
        values = weights @ moved - offsets
        if values[label] <= 0 or values[1 - label] > -APART / 2:
            continue
        if len(train) < TRAINING:
            train.append(moved)
            labels.append(label)
        elif not cases.full:
            point = lowest(weights[0] + weights[1], moved, threat)  # each pixel is in one half
            # Raised by the whole ball, the other half's logit stays below 0, and with it below the third one's.
            cases.add(moved, label, -float(weights[label] @ point - offsets[label]), point)
    made = cases.ground(TwoHalves(tensor(weights), tensor(offsets)), 3)
    return Ground(
        made.model, made.images, made.labels, made.vulnerable, made.witnesses,
        training=(as_images(np.stack(train)), torch.tensor(labels)),
    )  # fmt: skip


def _step(image: Floats, weights: Floats, offsets: Floats, wanted: Floats) -> Floats:
    """Return what moves each half's logit to the wanted value, along its weights."""
    gaps = wanted - (weights @ image - offsets)
    return (gaps / np.square(weights).sum(1)) @ weights  # type: ignore[no-any-return]  # an array
