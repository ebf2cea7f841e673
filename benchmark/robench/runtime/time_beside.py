"""The time that a run takes beside its stages, which no card's clock counts: shown at its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from robench.runtime.cell_count import in_words

#: Seconds in all below which nothing is said, and of one thing below which it is not named.
WORTH_SAYING, WORTH_NAMING = 60.0, 0.5


class TimeBeside:
    """Add up the seconds of what happens beside the stages, by what it is; what is inside another counts once.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: Counter[str] = Counter()
        self._clock = clock
        self._inner: list[float] = []

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Count the time inside as ``what``."""
        begun = self._clock()
        self._inner.append(0.0)
        try:
            yield
        finally:
            whole = self._clock() - begun
            self.seconds[what] += whole - self._inner.pop()  # type: ignore[assignment]  # seconds are no whole numbers
            if self._inner:
                self._inner[-1] += whole

    def less(self, seconds: float) -> None:
        """Take away what a stage's own clock has counted inside."""
        if self._inner:
            self._inner[-1] += seconds

    def said(self) -> str:
        """Return it in a sentence; empty if it is not worth one."""
        if sum(self.seconds.values()) < WORTH_SAYING:
            return ""
        parts = [f"{what} {in_words(spent)}" for what, spent in self.seconds.most_common() if spent >= WORTH_NAMING]
        return f"Beside the stages, whose time the cards state: {', '.join(parts)}."
