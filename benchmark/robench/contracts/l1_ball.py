"""The L1 ball cut by the box [0, 1]: its point nearest to another, where a linear function is highest, and steps in it.

Croce and Hein 2021, Mind the box: l1-APGD for sparse adversarial attacks on image classifiers (arXiv 2103.01208).
All is computed image by image and in float64, then rounded. Tensor methods only: no torch is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Rounds of the search for the threshold: ten are the usual number; from the second on every other halves the bracket.
_ROUNDS, _HALVING = 200, 30


def with_float64(tensor: Tensor) -> Tensor:
    """Return the tensor where it can be computed with in float64: on the CPU if its device cannot (MPS)."""
    return tensor.cpu() if tensor.device.type == "mps" else tensor


def l1_length(images: Tensor, adversarial: Tensor) -> Tensor:
    """Return sum |x' - x| of each image (N,), summed in float64: float32 would lose 150,528 small moves in rounding."""
    way = with_float64(adversarial).double() - with_float64(images).double()
    return way.flatten(1).abs().sum(1).to(images)


def nearest_in_l1(images: Tensor, adversarial: Tensor, eps: float, slack: float) -> Tensor:
    """Return the point of the ball of radius ``eps`` around ``images`` and of the box nearest to ``adversarial``.

    Its coordinates move by min(max(|d_i| - t, 0), room_i), where d is the way to the point, room the way to the edge of
    the box, and t >= 0 the least with which all moves together are no longer than eps (Croce and Hein 2021,
    proposition 2.1). Projecting onto the ball and then onto the box would end nearer to the image than it had to.

    Args:
        images: (N, C, H, W) in [0, 1].
        adversarial: the same shape, anywhere; an image with a NaN or infinite value keeps a NaN.
        eps: radius.
        slack: by how much a point may lie outside the ball and stay where it is.
    """
    rounded = with_float64(images).flatten(1)
    clean = rounded.double()
    way = with_float64(adversarial).flatten(1).double() - clean
    way = way.where(way.isfinite(), float("nan"))
    room = (1 - clean).where(way > 0, clean)
    moves = (way.abs() - _threshold(way.abs(), room, eps, slack)).clamp_min(0.0).minimum(room)
    point = (clean + way.sign() * moves).to(rounded.dtype)
    # float32 rounds many small moves up or down, which adds up: such a point is rounded to the clean image.
    moved = (point.double() - clean).abs()
    longer = (moved > moves) & (moved.sum(1, keepdim=True) > eps + slack)
    return point.nextafter(rounded).where(longer, point).clamp(0.0, 1.0).view(images.shape).to(images)


def _threshold(lengths: Tensor, room: Tensor, eps: float, slack: float) -> Tensor:
    """Return t (N, 1) with sum_i min(max(lengths_i - t, 0), room_i) = eps; 0 where that is no longer than it may be.

    The sum falls with t, piecewise linearly: Newton's steps, which are exact within a piece, in a bracket that is
    halved where they lead out of it. Sorting the places where pieces meet would give the same in closed form, at ten
    times the cost for a large image. Sums are cumulative, so that neither processor nor threads change them.
    """
    low = lengths[:, :1] * 0.0
    high = lengths.amax(1, keepdim=True) if lengths.shape[1] else low
    if eps == 0:
        return high
    at, done, moves = low, high.isnan(), lengths.clone()
    for count in range(_ROUNDS):
        moves.copy_(lengths).sub_(at).clamp_(min=0.0).clamp_(max=room)  # in place: a fresh tensor costs more than these
        bending = ((moves > 0) & (moves < room)).sum(1, keepdim=True)
        over = moves.cumsum_(1)[:, -1:] - eps
        done = done | (over.abs() <= 1e-11 * eps) | ((at == 0) & (over <= slack))
        if bool(done.all()):
            break
        low, high = at.where(over > 0, low), at.where(over <= 0, high)
        newton = at + over / bending
        halved = (low + high) / 2
        inside = (newton > low) & (newton < high)
        at = at.where(done, halved if count > _HALVING and count % 2 else newton.where(inside, halved))
    return at.where(done, high)


def highest_in_l1(images: Tensor, gradient: Tensor, eps: float) -> Tensor:
    """Return the point of ball and box where a linear function with this gradient is highest (N, C, H, W).

    A fractional knapsack: the coordinates of largest slope go to the edge of the box, one after the other, until eps is
    used up (Croce and Hein 2021, proposition 2.2). Of equal slopes the first comes first.
    """
    clean, slope = with_float64(images).flatten(1).double(), with_float64(gradient).flatten(1)
    order = slope.abs().argsort(dim=1, descending=True, stable=True)
    room = ((1 - clean).where(slope > 0, clean) * slope.sign().abs()).gather(1, order)
    moves = (eps - (room.cumsum(1) - room)).clamp_min(0.0).minimum(room)
    point = clean + slope.sign() * moves.scatter(1, order, moves)
    return point.view(images.shape).to(images)


def sparse_signs(gradient: Tensor, counts: Tensor | int, at: Tensor | None = None) -> Tensor:
    """Return the direction of L1 length 1 in which the ``counts`` coordinates of largest slope move alike (N, C, H, W).

    One coordinate alone is the steepest direction of the ball, but soon meets the box. Coordinates as steep as the last
    one move too; one without slope does not. Tramer and Boneh 2019 (arXiv 1904.13000), algorithm 1.

    Args:
        gradient: (N, C, H, W).
        counts: how many coordinates, for all images or for each (N,); at least 1.
        at: the points that are moved; coordinates that are at the edge of the box and would leave it do not count.
    """
    size = gradient.flatten(1).abs()
    if at is not None:
        leaving = ((at <= 0) & (gradient < 0)) | ((at >= 1) & (gradient > 0))
        size = size.where(~leaving.flatten(1), 0.0)
    if not len(size):
        return gradient
    if isinstance(counts, int):
        least = size.topk(counts, dim=1).values[:, -1:]
    else:
        least = size.topk(int(counts.max()), dim=1).values.gather(1, counts[:, None] - 1)
    signs = gradient.flatten(1).sign().where((size >= least) & (size > 0), 0.0)
    return (signs / signs.abs().sum(1, keepdim=True).clamp_min(1.0)).view(gradient.shape)
