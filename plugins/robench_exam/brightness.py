"""A model whose answer on brightened images is known by hand: a threshold on the mean of grey images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from robench import ThreatModel
from robench_exam.ground import PIXELS, Cases, Ground
from robench_exam.linear_maps import IMAGES

#: What brightness adds to a grey value, by severity (Hendrycks and Dietterich 2019).
ADDED = (0.1, 0.2, 0.3, 0.4, 0.5)
THRESHOLD = 0.6


class Bright(nn.Module):
    """Answer 1 where the mean is above the threshold, else 0."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 2) of images (N, C, H, W)."""
        lead = images.flatten(1).mean(1) - THRESHOLD
        return torch.stack([-lead, lead], 1)


def brightness(threat: ThreatModel) -> Ground:
    """Return grey images of bytes, of which brightness makes min(x + c, 1): dark ones may be taken for bright."""
    generator = np.random.default_rng(8)
    cases = Cases.upto(IMAGES, 1e-2)  # rounding to bytes moves the mean by less
    while not cases.full:
        level = generator.uniform(0.1, 0.9)
        grey = np.round(255 * np.clip(level + 0.1 * generator.standard_normal(PIXELS // 3), 0, 1)) / 255
        image = np.tile(grey, 3)
        moved = np.round(255 * np.minimum(image + ADDED[int(threat.eps) - 1], 1)) / 255
        label = int(image.mean() > THRESHOLD)
        if abs(image.mean() - THRESHOLD) > 1e-2:
            cases.add(image, label, (1 - 2 * label) * (float(moved.mean()) - THRESHOLD), moved)
    return cases.ground(Bright(), 2)
