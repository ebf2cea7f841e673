"""What several datasets say together: the mean over them, and which rows they tell apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from robench_leaderboard.statistics.significance import LEVEL, rejected_pairs


def mean_over_datasets(
    rates: Sequence[float], counts: Sequence[int], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return the mean of accuracies on two or more datasets, each counting alike, and its interval.

    Datasets and the images of each are samples. How far the accuracies scatter holds both, so that the variance of the
    mean is estimated from them (the ultimate-cluster estimate of two-stage sampling), and by what the images alone
    leave open where they happen to scatter less; with one degree of freedom less than there are datasets. The interval
    is Wilson's at the number of images that has this variance, so that it stays in [0, 1]. Few datasets say little: two
    leave nearly everything open. tests/leaderboard/test_several_datasets.py simulates its coverage.
    """
    from scipy.special import stdtrit

    several = len(rates)
    mean = sum(rates) / several
    between = sum((rate - mean) ** 2 for rate in rates) / (several - 1) / several
    within = sum(rate * (1 - rate) / n for rate, n in zip(rates, counts, strict=True)) / several**2
    variance, inside = max(between, within), mean * (1 - mean)
    effective = min(inside / variance, sum(counts)) if variance > 0 and inside > 0 else sum(counts)
    t = float(stdtrit(several - 1, 0.5 + confidence / 2))
    extra = t * t / effective
    centre = (mean + extra / 2) / (1 + extra)
    half = t * math.sqrt(inside / effective + extra / (4 * effective)) / (1 + extra)
    return mean, max(centre - half, 0.0), min(centre + half, 1.0)


def ranks_over_datasets(masks: Sequence[Sequence[Sequence[bool]]], level: float = LEVEL) -> list[int]:
    """Return the rank of each row, best row first; rows not told apart from their leader share its rank.

    A row is behind its leader if on at least one dataset it is significantly worse, and on none better. The tests are
    exact McNemar's on the images of one dataset, and the correction (Holm) is over all pairs of rows and all datasets.

    Args:
        masks: per dataset, per row (the same order everywhere), per image whether it was right.
        level: the family-wise level.
    """
    better = rejected_pairs(masks, level)
    ranks: list[int] = []
    leader = 0
    for place in range(len(masks[0])):
        ahead = any(found[leader][place] for found in better)
        if ahead and not any(found[place][leader] for found in better):
            leader = place
        ranks.append(leader + 1)
    return ranks
