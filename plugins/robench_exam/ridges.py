"""Functions of one direction, q(w.x): in the ball w.x takes every value between its ends, and nothing else counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from robench import ThreatModel
from robench_exam.ground import PIXELS, Cases, Floats, Ground, random_images, rounded, tensor
from robench_exam.linear_maps import IMAGES, lowest

#: Logit of the two classes that are never answered; with them losses that need four classes can be tried.
NEVER = -20.0
#: Steps of the staircase in one unit, of which the ball spans two.
STEPS = 8
#: The waves: how many in one unit, and how high.
WAVES, HEIGHT = 2.0, 0.3
#: Slope of the hyperbolic tangent at 0: beyond 9 it is 1 in float32, and its gradient is 0.
SLOPE, TOP = 20.0, 8.0
CLASSES = 4


class Ridge(nn.Module):
    """Answer class 0 where q(w.x - b) >= 0, else class 1."""

    def __init__(self, weight: Tensor, offset: float, shape: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.offset = offset
        self.shape = shape

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 4) of images (N, C, H, W)."""
        lead = self.shape(images.flatten(1) @ self.weight - self.offset)
        never = torch.full_like(lead, NEVER)
        return torch.stack([lead, -lead, never, never], 1)


def tanh(values: Tensor) -> Tensor:
    """Return a curve that is flat almost everywhere."""
    return TOP * torch.tanh(SLOPE * values)


def stairs(values: Tensor) -> Tensor:
    """Return a staircase: its gradient is 0 everywhere."""
    return (torch.floor(values * STEPS) + 0.5) / STEPS


def waves(values: Tensor) -> Tensor:
    """Return a slope with waves, in whose troughs a descent ends."""
    return values + HEIGHT * torch.sin(2 * torch.pi * WAVES * values)


def saturated(threat: ThreatModel) -> Ground:
    """Return a monotone function whose gradient is 0 but near its border."""
    return _ridge(threat, tanh, _monotone)


def staircase(threat: ThreatModel) -> Ground:
    """Return a monotone function without a gradient."""
    return _ridge(threat, stairs, _monotone)


def periodic(threat: ThreatModel) -> Ground:
    """Return a function with many local minima."""
    return _ridge(threat, waves, _trough)


def _monotone(low: float, high: float) -> tuple[float, float]:
    """Return the least value of a rising function that has the sign of its argument, up to its size, and where."""
    return low, low


def _trough(low: float, high: float) -> tuple[float, float]:
    """Return the least value of the waves from ``low`` to ``high``, and where: at an end, or where the slope is 0."""
    turn = np.arccos(-1 / (2 * np.pi * WAVES * HEIGHT)) / (2 * np.pi * WAVES)
    periods = np.arange(np.floor(low * WAVES) - 1, np.ceil(high * WAVES) + 2) / WAVES
    turns = np.concatenate([periods + turn, periods - turn])
    places = np.concatenate([[low, high], turns[(turns > low) & (turns < high)]])
    values = places + HEIGHT * np.sin(2 * np.pi * WAVES * places)
    return float(values.min()), float(places[values.argmin()])


def _ridge(
    threat: ThreatModel, shape: Callable[[Tensor], Tensor], least: Callable[[float, float], tuple[float, float]]
) -> Ground:
    generator = np.random.default_rng(1)
    raw = generator.standard_normal(PIXELS)
    weight = rounded(raw / _span(raw, threat))  # so that the ball spans [-1, 1] around the image's own value
    offset = float(np.float32(weight.sum() / 2))
    network = Ridge(tensor(weight), offset, shape)
    cases = Cases.upto(IMAGES, 1e-3)
    for image in _near(weight, offset, random_images(generator, 6 * IMAGES)):
        own = float(weight @ image - offset)
        answer = int(shape(torch.tensor(own, dtype=torch.float64)) < 0)
        sign = 1 - 2 * answer
        # All three shapes are odd, so that the way out of class 1 is the way out of class 0 of the mirrored function.
        ends = [lowest(weight, image, threat), lowest(-weight, image, threat)]
        low, high = sorted(sign * float(weight @ end - offset) for end in ends)
        value, place = least(low, high)
        if not cases.full:
            cases.add(image, answer, -value, _between(ends, weight, offset, sign * place))
    return cases.ground(network, CLASSES)


def _span(direction: Floats, threat: ThreatModel) -> float:
    """Return how far a linear function falls in the ball; from the middle of the box where the ball has its edges."""
    if threat.norm in ("L0", "patch"):
        grey = np.full(PIXELS, 0.5)
        return float(direction @ (grey - lowest(direction, grey, threat)))
    return float(threat.eps * (np.abs(direction).sum() if threat.norm == "Linf" else np.linalg.norm(direction)))


def _near(weight: Floats, offset: float, images: Floats) -> Floats:
    """Return the images moved along the direction until their values spread over twice what the ball spans."""
    values = images @ weight - offset
    wanted = np.linspace(-2, 2, len(images))[np.random.default_rng(2).permutation(len(images))]
    moved = images + np.outer((wanted - values) / (weight @ weight), weight)
    return rounded(np.clip(moved, 0, 1))


def _between(ends: list[Floats], weight: Floats, offset: float, place: float) -> Floats:
    """Return the point between the two ends, all of which lies in the ball and the box, whose value is ``place``."""
    low, high = (float(weight @ end - offset) for end in ends)
    share = (place - low) / (high - low)
    return ends[0] + share * (ends[1] - ends[0])
