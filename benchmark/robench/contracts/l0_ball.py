"""The L0 ball: at most k pixels of an image are another colour, all channels of a pixel counting as one.

The threat model of Croce et al. 2022, Sparse-RS (arXiv 2006.12834). Tensor methods only: no torch is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pixels_changed(images: Tensor, adversarial: Tensor) -> Tensor:
    """Return how many pixels of each image differ in any channel, as floats (N,); a NaN differs."""
    return (adversarial != images).any(1).flatten(1).sum(1).to(images)


def nearest_in_l0(images: Tensor, adversarial: Tensor, pixels: int) -> Tensor:
    """Return the point of the box in which at most ``pixels`` pixels differ, nearest to ``adversarial`` in L2.

    The pixels that were moved farthest within the box stay moved, of equals the first; the others are put back.
    """
    moved = adversarial.clamp(0.0, 1.0)
    size = (moved - images).square().sum(1).flatten(1)
    return moved.where(_largest(size, pixels).view(-1, 1, *images.shape[2:]), images)


def highest_in_l0(images: Tensor, gradient: Tensor, pixels: int) -> Tensor:
    """Return the point of ball and box where a linear function with this gradient is highest (N, C, H, W).

    A pixel gains what its channels gain at the edge of the box that each slope points to; the best pixels go there.
    """
    corner = (gradient > 0).to(images).where(gradient != 0, images)
    gain = (gradient * (corner - images)).sum(1).flatten(1)
    return corner.where(_largest(gain, pixels).view(-1, 1, *images.shape[2:]), images)


def sparse_directions(gradient: Tensor, pixels: int) -> Tensor:
    """Return the signs of the gradient in the ``pixels`` pixels of steepest slope, channels summed, else 0."""
    slope = gradient.abs().sum(1).flatten(1)
    return gradient.sign() * _largest(slope, max(pixels, 1)).view(-1, 1, *gradient.shape[2:])


def _largest(values: Tensor, count: int) -> Tensor:
    """Return (N, P) bool: where the ``count`` largest positive values of each row are; of equals the first."""
    order = values.argsort(dim=1, descending=True, stable=True)
    ranks = order.argsort(dim=1)
    return (ranks < count) & (values > 0)
