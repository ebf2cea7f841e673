"""What several seeds of one defended victim say together, with images and seeds both taken as a sample."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Spread:
    """Hold the mean accuracy over seeds, how far the seeds scatter, and what both samples leave open.

    Attributes:
        mean: in [0, 1], over seeds and images.
        deviation: standard deviation over the seeds (n - 1), in [0, 1].
        low: lower end of the hierarchical 95 % interval of the mean.
        high: its upper end.
        seeds: how many seeds.
        n: how many images, the same for each seed.
    """

    mean: float
    deviation: float
    low: float
    high: float
    seeds: int
    n: int


@dataclass(frozen=True)
class SeedMean:
    """Hold a mean over seeds and the standard deviation over them (n - 1), both in [0, 1]."""

    mean: float
    deviation: float


def seed_mean(rates: Sequence[float]) -> SeedMean:
    """Return mean and deviation of two or more seeds' rates, where it is not known of which images they are."""
    return SeedMean(statistics.fmean(rates), statistics.stdev(rates))


def spread(masks: Sequence[Sequence[float]], confidence: float = 0.95) -> Spread:
    """Return mean, deviation and interval of two or more seeds, each with its outcome per image, images aligned.

    An outcome is right or wrong, or in [0, 1] the share of draws that were right.

    Seeds and images are crossed: every seed answers the same images. The variance of the mean is that of the two-way
    random-effects analysis of variance without replication (as for readers x cases: Dorfman, Berbaum and Metz 1992),
    with the seeds' component held at zero or above, and Satterthwaite's degrees of freedom. The interval is Wilson's,
    at the number of independent images that has this variance (Korn and Graubard 1998), so that it stays in [0, 1]. Its
    coverage is simulated in tests/leaderboard/test_seed_spread.py; a t interval over the seeds' means alone ignores the
    choice of images, and covers 56 % of the time for 10 seeds that differ little.
    """
    import numpy as np
    from scipy.special import stdtrit

    table = np.asarray(masks, dtype=float)
    seeds, n = table.shape
    mean = float(table.mean())
    variance, freedom = _variance_of_mean(table)
    t = float(stdtrit(freedom, 0.5 + confidence / 2))
    inside = mean * (1 - mean)
    # Never more than one independent image per answer; where nothing varies, the images alone are counted.
    effective = min(inside / variance, seeds * n) if variance > 0 and inside > 0 else n
    extra = t * t / effective
    centre = (mean + extra / 2) / (1 + extra)
    half = t * math.sqrt(inside / effective + extra / (4 * effective)) / (1 + extra)
    deviation = float(table.mean(axis=1).std(ddof=1))
    return Spread(mean, deviation, max(centre - half, 0.0), min(centre + half, 1.0), seeds, n)


def _variance_of_mean(table: NDArray[Any]) -> tuple[float, float]:
    """Return the variance of the mean of (seeds, images) outcomes, and its degrees of freedom."""
    seeds, n = table.shape
    mean = table.mean()
    of_seed = n * float(((table.mean(axis=1) - mean) ** 2).sum()) / (seeds - 1)
    of_image = seeds * float(((table.mean(axis=0) - mean) ** 2).sum()) / max(n - 1, 1)
    residual = float(((table - mean) ** 2).sum()) - (seeds - 1) * of_seed - (n - 1) * of_image
    rest = max(residual, 0.0) / ((seeds - 1) * max(n - 1, 1))
    total = max(of_seed - rest, 0.0) + of_image
    scatter = of_seed**2 / (seeds - 1) + of_image**2 / max(n - 1, 1) + rest**2 / ((seeds - 1) * max(n - 1, 1))
    # Above 10^6 degrees t is normal to all digits, and larger ones are out of stdtrit's reach.
    freedom = min(total**2 / scatter, 1e6) if scatter > 0 else 1e6
    return total / (seeds * n), max(freedom, 1.0)
