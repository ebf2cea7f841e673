"""Decide which rows differ and which are tied, from paired outcomes on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.05

#: Rows times images that are compared in one matrix product: 64 MB of float32.
_BLOCK = 1 << 24


@lru_cache(maxsize=1 << 16)
def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p-value for two counts of discordant images (Q. McNemar 1947).

    It is ``binomtest(only_first, only_first + only_second).pvalue``, without the import time of scipy.stats.
    """
    return float(_exact(only_first, only_second))


def holm(p_values: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Return which hypotheses are rejected at family-wise ``level`` (S. Holm 1979)."""
    import numpy as np

    rejected: list[bool] = _holm(np.asarray(p_values, dtype=float), level).tolist()
    return rejected


def shared_ranks(masks: Sequence[Sequence[bool]], level: float = LEVEL) -> list[int]:
    """Return the rank of each row, best row first; rows not told apart from their leader share its rank.

    The correction is over all pairs of rows, not over the few that are read off: which row leads a group is
    itself chosen by looking at all of them, and correcting for fewer declares gaps among equals too often.
    """
    import numpy as np

    rows = len(masks)
    if rows < 2:
        return [1] * rows
    only = _discordant(np.asarray(masks, dtype=np.float32))
    first, second = np.triu_indices(rows, 1)
    different = np.zeros((rows, rows), dtype=bool)
    different[first, second] = _holm(_exact(only[first, second], only[second, first]), level)
    ranks: list[int] = []
    leader = 0
    for place in range(rows):
        if different[leader, place]:
            leader = place
        ranks.append(leader + 1)
    return ranks


def rejected_pairs(tables: Sequence[Sequence[Sequence[bool]]], level: float = LEVEL) -> list[list[list[bool]]]:
    """Return, per table of rows on the same images, which row is significantly better than which.

    The correction is over all pairs of rows of all tables together.
    """
    import numpy as np

    counts = [_discordant(np.asarray(masks, dtype=np.float32)) for masks in tables]
    first, second = np.triu_indices(len(counts[0]), 1)
    p_values = np.concatenate([_exact(only[first, second], only[second, first]) for only in counts])
    found = []
    for only, rejected in zip(counts, np.split(_holm(p_values, level), len(counts)), strict=True):
        different = np.zeros(only.shape, dtype=bool)
        different[first, second] = different[second, first] = rejected
        found.append((different & (only > only.T)).tolist())
    return found


def _discordant(masks: NDArray[Any]) -> NDArray[Any]:
    """Return (rows, rows): how many images the first has right and the second has not; float32 counts exactly."""
    import numpy as np

    rows, n = masks.shape
    found = np.zeros((rows, rows), dtype=np.int64)
    width = max(_BLOCK // max(rows, 1), 1)
    for start in range(0, n, width):
        part = masks[:, start : start + width]
        found += np.rint(part @ (1 - part).T).astype(np.int64)
    return found


def _exact(only_first: Any, only_second: Any) -> Any:
    """Return the two-sided binomial tail of one or of many pairs of counts."""
    import numpy as np
    from scipy.special import bdtr

    discordant = np.asarray(only_first) + np.asarray(only_second)
    # bdtr is undefined without a trial; no discordant image is no evidence.
    tail = bdtr(np.minimum(only_first, only_second), np.maximum(discordant, 1), 0.5)
    return np.where(discordant > 0, np.minimum(1.0, 2 * tail), 1.0)


def _holm(p_values: NDArray[Any], level: float) -> NDArray[Any]:
    import numpy as np

    order = np.argsort(p_values, kind="stable")
    passed = p_values[order] <= level / np.arange(len(p_values), 0, -1)
    # The first failure stops the procedure, whatever comes after it.
    rejected = np.zeros(len(p_values), dtype=bool)
    rejected[order] = np.logical_and.accumulate(passed)
    return rejected
