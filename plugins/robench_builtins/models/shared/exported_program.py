"""A torch.export program as a network; imported only where torch is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

#: Largest difference, relative to the largest logit, that another batch size may make by rounding.
TOLERANCE = 1e-3


class ExportedProgram(nn.Module):
    """Hold an exported program, whose mode was fixed when it was exported."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        # Its mode is part of its graph; the flag, which eval() may not set, says nothing. `steady` sees training mode.
        for part in module.modules():
            part.training = False

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        logits: Tensor = self.module(images)
        return logits

    def train(self, mode: bool = True) -> Self:
        """Leave the program alone: an exported module raises when it is asked to change its mode."""
        self.training = False
        return self


@torch.no_grad()
def steady(network: nn.Module, shape: Sequence[int]) -> bool:
    """Tell whether an image's logits are the same alone, beside another image, and a second time."""
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    together, alone = network(images), torch.cat([network(images[:1]), network(images[1:])])
    largest = float(together.abs().max().clamp_min(1.0))
    return bool((together - alone).abs().max() <= TOLERANCE * largest)
