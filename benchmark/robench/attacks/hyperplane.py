"""The shortest way from points of the box to a hyperplane, staying in the box."""

from __future__ import annotations

import torch
from torch import Tensor

from robench.contracts.threat_model import Norm

#: Share of the steepest coordinate's slope below which a coordinate is left where it is.
_FLAT = 1e-8


def shortest_to_hyperplane(points: Tensor, normals: Tensor, offsets: Tensor, norm: Norm) -> Tensor:
    """Return d (N, D) of least norm with w.d = -offset and points + d in [0, 1].

    Where no point of the box lies on the hyperplane, d leads to the corner that comes nearest to it.

    The minimiser moves coordinate i by min(r * s_i, room_i) towards the plane, with s = 1 in Linf and s = |w| in L2,
    and the least r that covers the offset. What is covered grows with r piecewise linearly, so that sorting the
    radii at which coordinates reach the box gives r in closed form. In L1 the steepest coordinates go to the edge
    of the box, one after the other, until the offset is covered.

    Args:
        points: (N, D) in [0, 1].
        normals: w, (N, D).
        offsets: value of the linear function at each point (N,), zero on the hyperplane.
        norm: Linf, L2 or L1.
    """
    # In units of the steepest coordinate: squares of a saturated model's gradients, 1e-25, would be 0 in float32.
    peak = normals.abs().amax(1, keepdim=True)
    peak = peak.where(peak > 0, 1.0)
    # Turned so that the function must fall: coordinates with w > 0 have room down to 0, those with w < 0 up to 1.
    down = normals / peak * torch.where(offsets >= 0, 1.0, -1.0)[:, None]
    down = down.where(down.abs() > _FLAT, 0.0)
    needed, weight = offsets.abs() / peak.squeeze(1), down.abs()
    room = torch.where(down > 0, points, 1 - points)
    if norm == "L1":
        return -down.sign() * _steepest_first(weight, room, needed)
    speed = torch.ones_like(weight) if norm == "Linf" else weight
    limit = torch.where(weight > 0, room / speed, 0.0)  # the radius at which a coordinate reaches the box
    limit, order = limit.sort(dim=1)
    full = (weight * room).gather(1, order)
    pace = (weight * speed).gather(1, order)
    spent = full.cumsum(1)
    still = pace.flip(1).cumsum(1).flip(1)  # the pace of this coordinate and of those that reach the box later
    covered = spent - full + limit * still
    piece = (covered < needed[:, None]).sum(1, keepdim=True).clamp_max(points.shape[1] - 1)
    rest = needed[:, None] - (spent - full).gather(1, piece)
    radius = rest / still.gather(1, piece).clamp_min(torch.finfo(points.dtype).tiny)
    radius = torch.minimum(radius, limit[:, -1:]).clamp_min(0.0)
    return -down.sign() * torch.minimum(radius * speed, room)


def _steepest_first(weight: Tensor, room: Tensor, needed: Tensor) -> Tensor:
    """Return the moves (N, D) >= 0, none longer than its room, of least sum with sum_i weight_i move_i = needed."""
    order = weight.argsort(dim=1, descending=True, stable=True)
    steep, space = weight.gather(1, order), room.gather(1, order)
    covered = (steep * space).cumsum(1) - steep * space  # by the coordinates before
    rest = (needed[:, None] - covered).clamp_min(0.0) / steep.clamp_min(torch.finfo(steep.dtype).tiny)
    moves = torch.minimum(rest, space).where(steep > 0, 0.0)
    return torch.zeros_like(moves).scatter(1, order, moves)
