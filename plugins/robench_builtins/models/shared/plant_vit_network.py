"""The network of plant-vit; imported only where torch is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from robench_builtins.models.shared.layers import EncoderBlock, perceptron

if TYPE_CHECKING:
    from robench_builtins.models.plant_vit import PlantViT


class SmallViT(nn.Module):
    """Embed patches, encode them, classify all tokens together.

    Args:
        plan: widths and rates.
        stride: pixels from one patch to the next.
        patches: how many there are.
        hidden: widths of the head's hidden layers.
        classes: the number of logits.
    """

    def __init__(self, plan: PlantViT, stride: int, patches: int, hidden: list[int], classes: int) -> None:
        super().__init__()
        # A convolution is the linear map of each flattened patch.
        self.embedding = nn.Conv2d(3, plan.width, plan.patch, stride)
        self.positions = nn.Parameter(torch.empty(patches, plan.width))
        self.encoder = nn.Sequential(
            *(EncoderBlock(plan.width, plan.heads, plan.dropout) for _ in range(plan.blocks)),
            nn.LayerNorm(plan.width, eps=1e-6),
        )
        sizes = [patches * plan.width, *hidden]
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(plan.head_dropout),
            perceptron(sizes, plan.head_dropout),
            nn.Linear(sizes[-1], classes),
        )
        self.apply(_draw)
        nn.init.uniform_(self.positions, -0.05, 0.05)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, classes) for normalised ``pixels`` (N, 3, size, size)."""
        tokens = self.embedding(pixels).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.head(self.encoder(tokens))
        return logits


def _draw(module: nn.Module) -> None:
    """Draw weights as Keras does: Glorot's uniform distribution, and biases of 0."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight.flatten(1))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
