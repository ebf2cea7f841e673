"""The network of plant-vit, with attention as in Keras; imported only where torch is wanted."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn


class SmallViT(nn.Module):
    """Embed patches, encode them, classify all tokens together.

    Args:
        classes: the number of logits.
        patch: side of a patch in pixels.
        stride: pixels from one patch to the next.
        patches: how many there are.
        width: of a token, and of each head.
        heads: attention heads.
        blocks: encoder blocks.
        dropout: in the encoder.
        hidden: widths of the head's hidden layers.
        head_dropout: before and in the head.
    """

    def __init__(
        self,
        classes: int,
        *,
        patch: int,
        stride: int,
        patches: int,
        width: int,
        heads: int,
        blocks: int,
        dropout: float,
        hidden: list[int],
        head_dropout: float,
    ) -> None:
        super().__init__()
        # A convolution is the linear map of each flattened patch.
        self.embedding = nn.Conv2d(3, width, patch, stride)
        self.positions = nn.Parameter(torch.empty(patches, width))
        self.encoder = nn.Sequential(
            *(EncoderBlock(width, heads, dropout) for _ in range(blocks)),
            nn.LayerNorm(width, eps=1e-6),
        )
        sizes = [patches * width, *hidden]
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(head_dropout),
            perceptron(sizes, head_dropout),
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
