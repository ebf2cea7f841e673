"""Axes: from values to places on the paper, and the round numbers beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from robench_leaderboard.render.chart import Axis

#: Values further apart than this get a logarithmic axis, where the axis may have one.
WIDE = 20
#: The share of a logarithmic axis that 0 has to itself.
ZERO = 0.1


class Scale(Protocol):
    """Map values to [0, 1]."""

    @property
    def ticks(self) -> Sequence[tuple[float, str]]:
        """Return values with what is written at them."""
        ...

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        ...


@dataclass(frozen=True)
class Linear:
    """Place values evenly between ``low`` and ``high``."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Logarithmic:
    """Place values by their order of magnitude; 0 stands apart on the left, if it occurs."""

    low: float
    high: float
    zero: bool
    ticks: Sequence[tuple[float, str]]

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        start = ZERO if self.zero else 0.0
        if value <= 0:
            return 0.0
        return start + (1 - start) * math.log(value / self.low) / math.log(self.high / self.low)


def scale(axis: Axis, values: Iterable[float]) -> Scale:
    """Return the scale that shows all ``values``."""
    found = sorted(values)
    low, high = found[0], found[-1]
    if axis.cost:
        positive = [value for value in found if value > 0]
        if positive and (positive[-1] / positive[0] > WIDE or (low <= 0 and positive[-1] > WIDE)):
            return _logarithmic(positive[0], positive[-1], zero=low <= 0)
    if axis.names:
        room = 0.04 * (high - low)
        return Linear(low - room, high + room, _apart(axis.names, high - low))
    low = min(low, 0.0) if axis.zero or axis.cost else low
    step = nice((high - low) / 5 or abs(high) / 5 or 1.0)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    if axis.percent:
        low, high = max(low, 0.0), min(high, 100.0)
    high = high if high > low else low + step
    count = round((high - low) / step)
    ticks = [low + place * step for place in range(count + 1)]
    return Linear(low, high, [(tick, compact(tick)) for tick in ticks if tick <= high * (1 + 1e-9)])


def nice(rough: float) -> float:
    """Return 1, 2, 2.5 or 5 times a power of ten, the smallest not below ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))


def compact(value: float) -> str:
    """Write a tick: ``0.25``, ``40``, ``20k``, ``3M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}" if abs(value) > 1e-12 else "0"


def _logarithmic(low: float, high: float, *, zero: bool) -> Logarithmic:
    # Half a step of room on either side, so that no mark sits on the frame.
    bottom, top = low / 1.6, high * 1.6
    decades = range(math.floor(math.log10(bottom)), math.ceil(math.log10(top)) + 1)
    factors = (1.0,) if len(decades) > 4 else (1.0, 3.0) if len(decades) > 2 else (1.0, 2.0, 5.0)
    rounds = [factor * 10.0**decade for decade in decades for factor in factors]
    if len(rounds) > 12:
        rounds = rounds[:: len(rounds) // 6]
    ticks = [(value, compact(value)) for value in rounds if bottom <= value <= top]
    return Logarithmic(bottom, top, zero, [(0.0, "0"), *ticks] if zero else ticks)


def _apart(names: Sequence[tuple[float, str]], extent: float) -> list[tuple[float, str]]:
    """Drop names that would stand on the one before; the last is kept."""
    placed: list[tuple[float, str]] = []
    for value, name in names:
        while placed and value - placed[-1][0] < 0.13 * extent and len(placed) > 1 and value == names[-1][0]:
            placed.pop()
        if not placed or value - placed[-1][0] >= 0.13 * extent:
            placed.append((value, name))
    return placed
