"""A convolution with a forward and a backward of its own: matrix products of unfolded patches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import fold, unfold


class Convolve(torch.autograd.Function):
    """Y = W X + b over patches; dX = fold(W' dY), dW = dY X', db = the sum of dY."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        """Return (N, O, H', W') for images (N, C, H, W) and weights (O, C, K, K); patches are padded by K // 2."""
        side = weight.shape[2]
        patches = unfold(images, side, padding=side // 2, stride=stride)
        ctx.save_for_backward(patches, weight)
        ctx.shape, ctx.stride = images.shape, stride
        rows, columns = ((length + 2 * (side // 2) - side) // stride + 1 for length in images.shape[2:])
        return (weight.flatten(1) @ patches + bias[:, None]).unflatten(2, (rows, columns))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return the gradients of images, weights and bias."""
        patches, weight = ctx.saved_tensors
        above, side = gradients[0].flatten(2), weight.shape[2]
        images = fold(weight.flatten(1).T @ above, ctx.shape[2:], side, padding=side // 2, stride=ctx.stride)
        weights = torch.einsum("nop,ncp->oc", above, patches).view_as(weight)
        return images, weights, above.sum((0, 2)), None


class Convolution(nn.Module):
    """Convolve 3 x 3 patches."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        drawn = nn.Conv2d(channels, width, 3)  # torch's own initial values
        self.weight, self.bias, self.stride = drawn.weight, drawn.bias, stride

    def forward(self, images: Tensor) -> Tensor:
        """Return the feature maps."""
        result: Tensor = Convolve.apply(images, self.weight, self.bias, self.stride)
        return result
