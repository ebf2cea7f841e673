"""How many cells of a run are done, and how long the others take."""

from __future__ import annotations

import time
from collections.abc import Callable

from robench.contracts.task import Progress


class CellCount:
    """Count the cells of a run; the time left is the mean of those measured so far, times those that are left.

    Args:
        show: called as a cell begins, with ``cell 3 of 12, about 4 min left``, its title, cells done, and all cells.
        clock: seconds.
    """

    def __init__(
        self,
        show: Callable[[str, str, int, int], None] = lambda text, title, done, total: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._show, self._clock = show, clock
        self._total = self._done = self._measured = 0
        self._begun = 0.0

    def expect(self, cells: int) -> None:
        """Tell how many cells are to come; what a suite announced for all of its runs stays."""
        if self._done >= self._total:
            self._total += cells

    def stored(self, cells: int) -> None:
        """Count cells that the store had, which says nothing about the time of the others."""
        self._done += cells

    def begin(self, title: str) -> None:
        """Count and show the cell that begins to be measured."""
        now = self._clock()
        self._begun = self._begun if self._measured else now
        left = ""
        if self._measured:
            seconds = (now - self._begun) / self._measured * (self._total - self._done)
            left = f", about {in_words(seconds)} left"
        self._done += 1
        self._measured += 1
        self._total = max(self._total, self._done)
        if self._total > 1:
            self._show(f"cell {self._done} of {self._total}{left}", title, self._done - 1, self._total)


def cell_count(progress: Progress) -> CellCount:
    """Return what counts the cells where ``progress`` shows them; elsewhere one that shows nothing."""
    found = getattr(progress, "cells", None)
    return found if isinstance(found, CellCount) else CellCount()


def in_words(seconds: float) -> str:
    """Write a time as people say it: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
