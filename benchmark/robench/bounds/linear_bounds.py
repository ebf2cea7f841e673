"""Lower bounds of margins over a ball: by intervals, by linear bounds (CROWN), and by linear bounds on intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from robench.bounds.relu_chain import Affine, Chain, chain_of
from robench.contracts.classifier import Classifier
from robench.contracts.threat_model import BALL_TOLERANCE, ThreatModel
from robench.errors import ContractError

Method = Literal["interval", "crown-ibp", "crown"]

NORMS = ("Linf", "L2")
#: Share of the largest logit by which a lower bound must exceed 0: models answer in float32, the bound is in float64.
ROUNDING = 1e-5


def certified(model: Classifier, images: Tensor, labels: Tensor, threat: ThreatModel, method: Method) -> Tensor:
    """Return for which images no point of the ball and the box can be answered otherwise (N,) bool.

    Args:
        model: a chain of affine layers and ReLUs.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) true classes.
        threat: norm and radius.
        method: how the margins are bounded.

    Raises:
        ContractError: the model is no such chain, or the norm is neither Linf nor L2.
    """
    chain = chain_of(model)
    margins = margin_bounds(chain, images, labels, threat, method)
    largest = chain(images).abs().amax(1)
    found: Tensor = margins.amin(1) > ROUNDING * (1 + largest)
    return found


def margin_bounds(chain: Chain, images: Tensor, labels: Tensor, threat: ThreatModel, method: Method) -> Tensor:
    """Return lower bounds of the label's logit minus each other one over the ball, in float64 (N, K).

    The label's own entry is infinite. ``interval``: Gowal et al. 2018, https://arxiv.org/abs/1810.12715, the last
    affine map merged with the difference. ``crown``: Zhang et al. 2018, https://arxiv.org/abs/1811.00866, with the
    adaptive lower slope, each layer's bounds by the same method. ``crown-ibp``: intervals for the layers, linear
    bounds for the margins (Zhang et al. 2020, https://arxiv.org/abs/1906.06316).
    """
    if threat.norm not in NORMS:
        raise ContractError(f"bounds are known here for {' and '.join(NORMS)}, not for {threat.norm}.")
    classes = chain(images[:1]).shape[1]
    rows = [
        _margins(chain, image[None].double(), int(label), classes, threat, method)
        for image, label in zip(images, labels, strict=True)
    ]
    return torch.stack(rows)


def layer_bounds(
    chain: Chain, image: Tensor, threat: ThreatModel, method: Method
) -> list[tuple[Tensor, Tensor]]:  # fmt: skip
    """Return lower and upper bounds of what enters each ReLU, each (1, *shape), for one image (1, C, H, W)."""
    lower, upper = box(image, threat)
    found: list[tuple[Tensor, Tensor]] = []
    for depth in range(len(chain.maps) - 1):
        low, high = _through(chain.maps[depth], lower, upper)
        if method == "crown" or depth == 0:  # the first one is affine: its linear bound is exact
            count = low[0].numel()
            rows = torch.eye(count, dtype=low.dtype, device=low.device).view(count, *low.shape[1:])
            low = torch.maximum(low, backward(chain.maps[: depth + 1], found, rows, image, threat).view(low.shape))
            high = torch.minimum(high, -backward(chain.maps[: depth + 1], found, -rows, image, threat).view(low.shape))
        found.append((low, high))
        lower, upper = low.relu(), high.relu()
    return found


def backward(
    maps: Sequence[Affine], bounds: Sequence[tuple[Tensor, Tensor]], rows: Tensor, image: Tensor, threat: ThreatModel
) -> Tensor:
    """Return lower bounds (S,) of S linear functions ``rows`` (S, *outputs) of the last map's outputs.

    ``bounds`` hold those of what enters the ReLUs between the maps.
    """
    offset = rows.new_zeros(len(rows))
    for depth in reversed(range(len(maps))):
        like = image if depth == 0 else bounds[depth - 1][0]
        rows, constant = maps[depth].transposed(rows, like)
        offset = offset + constant
        if depth:
            rows, constant = _relaxed(rows, *bounds[depth - 1])
            offset = offset + constant
    return offset + least(rows, image, threat)


def least(rows: Tensor, image: Tensor, threat: ThreatModel) -> Tensor:
    """Return a lower bound (S,) of linear functions ``rows`` (S, C, H, W) over the ball and the box.

    Linf: exact. L2: the better of the ball's and the box's, whose intersection may be smaller than either.
    """
    low, high = box(image, threat)
    middle, half = (low + high) / 2, (high - low) / 2
    inside = ((rows * middle) - rows.abs() * half).flatten(1).sum(1)
    if threat.norm == "Linf":
        return inside
    radius = threat.eps + BALL_TOLERANCE
    ball = (rows * image).flatten(1).sum(1) - radius * rows.flatten(1).norm(dim=1)
    return torch.maximum(inside, ball)


def box(image: Tensor, threat: ThreatModel) -> tuple[Tensor, Tensor]:
    """Return the least and largest pixels of the ball in the box; what the harness takes for inside is inside."""
    radius = threat.eps + BALL_TOLERANCE
    return (image - radius).clamp(0.0, 1.0), (image + radius).clamp(0.0, 1.0)


def _margins(chain: Chain, image: Tensor, label: int, classes: int, threat: ThreatModel, method: Method) -> Tensor:
    rows = -torch.eye(classes, dtype=torch.float64, device=image.device)
    rows[:, label] += 1
    bounds = layer_bounds(chain, image, threat, method)
    if method == "interval" and bounds:
        low, high = (bound.relu() for bound in bounds[-1])
        columns, offset = chain.maps[-1].transposed(rows, low)
        middle, half = (low + high) / 2, (high - low) / 2
        found = offset + (columns * middle - columns.abs() * half).flatten(1).sum(1)
    else:
        found = backward(chain.maps, bounds, rows, image, threat)
    found[label] = float("inf")
    return found


def _through(affine: Affine, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Return the interval of an affine map of an interval."""
    middle, half = affine((lower + upper) / 2), affine.spread((upper - lower) / 2)
    return middle - half, middle + half


def _relaxed(rows: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return linear functions of a ReLU's inputs below ``rows`` (S, *shape) of its outputs, and their offsets (S,)."""
    on, off = (low >= 0).double(), (high <= 0).double()
    open_ = 1 - on - off
    steep = high / (high - low).clamp_min(1e-300)
    above, lift = on + open_ * steep, -open_ * steep * low
    below = on + open_ * (high > -low)
    positive, negative = rows.clamp_min(0), rows.clamp_max(0)
    return positive * below + negative * above, (negative * lift).flatten(1).sum(1)
