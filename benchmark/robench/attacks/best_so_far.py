"""What an attack has found so far, image by image."""

from __future__ import annotations

import torch
from torch import Tensor


class Best:
    """Keep the best candidate of each image: one that fools the model, and among equals the one of highest value.

    Args:
        images: (N, C, H, W) clean images; an image without any candidate stays as it is.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images.clone()
        self.fooled = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        self.values = images.new_full((len(images),), -float("inf"))

    def offer(self, rows: Tensor, candidates: Tensor, fooled: Tensor, values: Tensor) -> None:
        """Take the ``candidates`` (M, C, H, W) of ``rows`` (M,) that are better than what those rows have."""
        known, before = self.fooled[rows], self.values[rows]
        better = (fooled & ~known) | ((fooled == known) & (values > before))
        # By places and not by a mask, whose count a GPU would have to be waited for.
        self.images[rows] = torch.where(better.view(-1, 1, 1, 1), candidates, self.images[rows])
        self.fooled[rows] = torch.where(better, fooled, known)
        self.values[rows] = torch.where(better, values, before)

    def left(self, stop_early: bool) -> Tensor:
        """Return the rows that are still worth an attack: all, or with ``stop_early`` those not yet fooled."""
        if stop_early:
            return (~self.fooled).nonzero().flatten()
        return torch.arange(len(self.images), device=self.images.device)
