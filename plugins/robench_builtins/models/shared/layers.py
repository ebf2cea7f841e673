"""Layers that torch has no module for; imported only where torch is wanted."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn


class GridMean(nn.Module):
    """Average maps over a grid of ``side`` x ``side`` fields, as adaptive pooling; the same bits on every device.

    Adaptive pooling's own backward adds in any order on a GPU; two products with constant matrices do not.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, C, side, side) for ``maps`` (N, C, H, W)."""
        rows, columns = (self._fields(maps, length) for length in maps.shape[2:])
        return rows @ maps @ columns.T

    def _fields(self, maps: Tensor, length: int) -> Tensor:
        """Return (side, length): in row i, the weights of the pixels of field i."""
        fields = maps.new_zeros(self.side, length)
        for place in range(self.side):
            start, stop = place * length // self.side, -(-(place + 1) * length // self.side)
            fields[place, start:stop] = 1 / (stop - start)
        return fields


class WideAttention(nn.Module):
    """Attend with heads that are each as wide as the tokens, as Keras' MultiHeadAttention(heads, key_dim=width)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.inputs = nn.Linear(width, 3 * heads * width)
        self.output = nn.Linear(heads * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (N, T, width) for ``tokens`` (N, T, width)."""
        count, length, width = tokens.shape
        query, key, value = self.inputs(tokens).view(count, length, 3, self.heads, width).permute(2, 0, 3, 1, 4)
        rate = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=rate)
        result: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return result


class EncoderBlock(nn.Module):
    """Attend, then transform each token, each behind a layer norm and around a shortcut."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = WideAttention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = perceptron([width, 2 * width, width], dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (N, T, width) for ``tokens`` (N, T, width)."""
        tokens = tokens + self.attention(self.norm1(tokens))
        result: Tensor = tokens + self.mlp(self.norm2(tokens))
        return result


def perceptron(sizes: list[int], dropout: float) -> nn.Sequential:
    """Return linear maps between ``sizes``, each with GELU and dropout behind it."""
    parts: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        parts += [nn.Linear(inputs, outputs), nn.GELU(), nn.Dropout(dropout)]
    return nn.Sequential(*parts)
