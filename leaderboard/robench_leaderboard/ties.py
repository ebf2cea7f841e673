"""Decide which rows differ and which are tied, from paired outcomes on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

LEVEL = 0.05


@lru_cache(maxsize=1 << 16)
def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p-value for two counts of discordant images (Q. McNemar 1947).

    It is ``binomtest(only_first, only_first + only_second).pvalue``, without the import time of scipy.stats.
    """
    from scipy.special import bdtr

    discordant = only_first + only_second
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), discordant, 0.5))) if discordant else 1.0


def holm(p_values: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Return which hypotheses are rejected at family-wise ``level`` (S. Holm 1979)."""
    rejected = [False] * len(p_values)
    for done, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[place] > level / (len(p_values) - done):
            break
        rejected[place] = True
    return rejected


def shared_ranks(masks: Sequence[Sequence[bool]], level: float = LEVEL) -> list[int]:
    """Return the rank of each row, best row first; rows not told apart from their leader share its rank.

    The correction is over all pairs of rows, not over the few that are read off: which row leads a group is
    itself chosen by looking at all of them, and correcting for fewer declares gaps among equals too often.
    """
    numbers = [_as_number(mask) for mask in masks]
    pairs = list(combinations(range(len(masks)), 2))
    p_values = [_paired(numbers[first], numbers[second]) for first, second in pairs]
    different = {pair for pair, rejected in zip(pairs, holm(p_values, level), strict=True) if rejected}
    ranks: list[int] = []
    leader = 0
    for place in range(len(masks)):
        if (leader, place) in different:
            leader = place
        ranks.append(leader + 1)
    return ranks


def _paired(first: int, second: int) -> float:
    return mcnemar(*sorted(((first & ~second).bit_count(), (second & ~first).bit_count())))


def _as_number(mask: Sequence[bool]) -> int:
    """Return the mask as one integer, whose bit operations compare thousands of images at once."""
    return int("".join("1" if flag else "0" for flag in mask) or "0", 2)
