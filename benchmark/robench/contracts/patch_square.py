"""The patch: every pixel that changes lies in one square of a stated side, anywhere in the image, in any colours.

The threat model of Brown et al. 2017 (arXiv 1712.09665) and Karmon et al. 2018, LaVAN (arXiv 1801.02608), one square an
image at a place that the attacker chooses. Tensor methods only: no torch is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Share of the best square's total by which another may fall short and still be its equal: rounding, and no more.
_EQUAL = 1e-9
#: Irrational numbers whose multiples weigh the draws that choose a row and a column.
_SHARES = (0.6180339887498949, 0.7548776662466927)


def side_changed(images: Tensor, adversarial: Tensor) -> Tensor:
    """Return the side of the least square that holds all pixels that differ in any channel (N,); a NaN differs."""
    differs = (adversarial != images).any(1)
    height, width = _extent(differs.any(2)), _extent(differs.any(1))
    return height.maximum(width).to(images)


def nearest_in_patch(images: Tensor, adversarial: Tensor, side: int) -> Tensor:
    """Return the point of the box that differs in one square of this side only, nearest to ``adversarial`` in L2.

    What already lies in one square stays as it is. Else the square in which most was moved stays, of equals the first
    in reading order, and everything outside is put back.
    """
    moved = adversarial.clamp(0.0, 1.0)
    size = (moved.double() - images.double()).square().sum(1)
    kept = moved.where(square_at(best_square(size, side), side, images), images)
    return moved.where((side_changed(images, moved) <= side).view(-1, 1, 1, 1), kept)


def highest_in_patch(images: Tensor, gradient: Tensor, side: int) -> Tensor:
    """Return the point of the patch and the box where a linear function with this gradient is highest (N, C, H, W).

    A pixel gains what its channels gain at the edge of the box that each slope points to; the square of largest gain
    goes there.
    """
    corner = (gradient > 0).to(images).where(gradient != 0, images)
    return corner.where(square_at(best_square(gains(images, gradient), side), side, images), images)


def patch_directions(gradient: Tensor, side: int) -> Tensor:
    """Return the signs of the gradient in the square of steepest slope, channels summed, else 0."""
    slope = gradient.double().abs().sum(1)
    return gradient.sign() * square_at(best_square(slope, max(side, 1)), max(side, 1), gradient)


def painted_by_draws(images: Tensor, unit: Tensor, side: int) -> Tensor:
    """Return the images moved by ``unit``, draws from U[-1, 1] or their signs, in a square whose place they choose."""
    square = square_at(drawn_square(unit, side), side, images)
    return (images + unit).clamp(0.0, 1.0).where(square, images)


def drawn_square(unit: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return top and left (N,) of a square that fits, each place as likely as any other, from draws (N, C, H, W).

    The fraction of a weighted sum of all draws, which is as random as they are: signs alone would do.
    """
    tall, wide = fitting(side, unit)
    draws = unit.flatten(1).double()
    count = (draws * 0 == 0).double().cumsum(1)
    found = []
    for share, places in zip(_SHARES, (unit.shape[2] - tall + 1, unit.shape[3] - wide + 1), strict=True):
        total = (draws * (count * share % 1)).cumsum(1)[:, -1]
        found.append(((total % 1) * places).long().clamp(0, places - 1))
    return found[0], found[1]


def gains(images: Tensor, gradient: Tensor) -> Tensor:
    """Return what a linear function with this gradient gains where each pixel goes to its best colour (N, H, W)."""
    corner = (gradient > 0).to(images).where(gradient != 0, images)
    return (gradient.double() * (corner.double() - images.double())).sum(1)


def best_square(values: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return top and left (N,) of the square of largest total; of equals, up to rounding, the first."""
    totals = square_totals(values, side)
    flat = totals.flatten(1)
    most = flat.amax(1, keepdim=True)
    first = (flat >= most - _EQUAL * most.abs()).to(values).cumsum(1).eq(0).sum(1)
    return first // totals.shape[2], first % totals.shape[2]


def square_totals(values: Tensor, side: int) -> Tensor:
    """Return the sum of ``values`` (N, H, W) in each square of this side (N, H - side + 1, W - side + 1).

    A side beyond the image's is the image's. No running sums: a square of zeros sums to exactly zero.
    """
    tall, wide = fitting(side, values)
    return values.unfold(1, tall, 1).sum(-1).unfold(2, wide, 1).sum(-1)


def square_at(place: tuple[Tensor, Tensor], side: int, like: Tensor) -> Tensor:
    """Return (N, 1, H, W) bool: where the square with this top and left (N,) lies; a side of 0 is nowhere."""
    from_top, from_left = (_counted(like, dim) - at.view(-1, 1) for dim, at in zip((2, 3), place, strict=True))
    rows, columns = ((far >= 0) & (far < side) for far in (from_top, from_left))
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def fitting(side: int, images: Tensor) -> tuple[int, int]:
    """Return height and width of what a square of this side covers of images (..., H, W), at least a pixel."""
    return tuple(max(min(side, length), 1) for length in images.shape[-2:])  # type: ignore[return-value]  # two of them


def _extent(changed: Tensor) -> Tensor:
    """Return how many rows (or columns) lie from the first that changed to the last (N,); 0 where none did."""
    before = changed.cumsum(1).eq(0).sum(1)
    after = changed.flip(1).cumsum(1).eq(0).sum(1)
    return (changed.shape[1] - before - after).clamp_min(0)


def _counted(like: Tensor, dim: int) -> Tensor:
    """Return 0, 1, 2, ... along a side of the images (1, length), on their device."""
    row = like[:1, :1].narrow(2 if dim == 3 else 3, 0, 1)
    return (row * 0 == 0).flatten(1).cumsum(1) - 1
