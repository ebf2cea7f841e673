"""Differences between two proportions that were measured on the same images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

from robench_leaderboard.statistics.significance import mcnemar

#: Halvings of an interval of width 2: far below the 6 digits that are published.
_STEPS = 50


@dataclass(frozen=True)
class Difference:
    """Count the images that only one of two got right, out of the ``n`` that both answered.

    Where answers are random, an image counts by how much more often one got it right than the other. The intervals are
    then conservative: the square of such a difference is at most its size.
    """

    only_first: float
    only_second: float
    n: int

    @classmethod
    def of(cls, first: Sequence[float], second: Sequence[float]) -> Difference:
        """Return first minus second, from outcomes (or shares of draws) on the same images in the same order."""
        changes = [a - b for a, b in zip(first, second, strict=True)]
        return cls(sum(max(x, 0) for x in changes), sum(max(-x, 0) for x in changes), len(changes))

    @property
    def points(self) -> float:
        """Return the difference in percentage points."""
        return 100 * (self.only_first - self.only_second) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Return its 95 % interval in percentage points."""
        low, high = tango(self.only_first, self.only_second, self.n)
        return 100 * low, 100 * high

    @property
    def p_value(self) -> float:
        """Return the two-sided exact McNemar p-value."""
        return mcnemar(*sorted((round(self.only_first), round(self.only_second))))


@lru_cache(maxsize=1 << 16)
def tango(only_first: float, only_second: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a difference of paired proportions (T. Tango 1998, Statistics in Medicine 17).

    Of the intervals in use (Wald, Wald with added pseudo-counts, Newcombe's hybrid, Tango's) it is the inversion of the
    score test that McNemar's is a case of, and its coverage stays near nominal where few images are discordant, which
    is where two good rows are compared; tests/leaderboard/test_paired_difference.py computes it exactly, beside Wald's.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    estimate = (only_first - only_second) / n

    def score(delta: float) -> float:
        return _score(delta, only_first, only_second, n)

    return _crossing(score, z, -1.0, estimate), _crossing(score, -z, estimate, 1.0)


def _score(delta: float, only_first: float, only_second: float, n: int) -> float:
    """Return the score statistic of the hypothesis that the difference is ``delta`` (Tango 1998, equation 6)."""
    a = 2 * n
    b = -only_first - only_second + (2 * n - only_first + only_second) * delta
    c = -only_second * delta * (1 - delta)
    # The probability of "only second right" that is likeliest under the hypothesis.
    second = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * second + delta * (1 - delta))
    distance = only_first - only_second - n * delta
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)


def _crossing(score: Callable[[float], float], level: float, low: float, high: float) -> float:
    """Return where the falling ``score`` passes ``level``, by bisection."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if score(middle) > level else (low, middle)
    return (low + high) / 2
