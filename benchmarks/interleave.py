"""Fair timing of several contestants on a machine that other work disturbs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence


def interleave(
    contestants: dict[str, Callable[[], object]], rounds: int, warm_up: bool = True
) -> dict[str, list[float]]:
    """Return the seconds of each contestant in each round.

    All run in one process, each once in every round, so that a slow minute hits them alike; the order
    rotates, so that nobody always runs on warm caches. One untimed round comes first, unless ``warm_up`` is off.
    """
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for contestant in contestants.values() if warm_up else ():
        contestant()
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            started = time.perf_counter()
            contestants[name]()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def ratios(seconds: dict[str, list[float]], reference: str) -> dict[str, float]:
    """Return each contestant's time over the reference's in the same round: the median over the rounds."""
    return {
        name: statistics.median(mine / other for mine, other in zip(times, seconds[reference], strict=True))
        for name, times in seconds.items()
    }


def timed_rows(seconds: dict[str, list[float]], table: dict[str, float]) -> list[tuple[str, str, str]]:
    """Return one row a contestant: its name, its ratio, and its median seconds."""
    return [(name, f"{table[name]:.2f}", f"{statistics.median(times):.3f}") for name, times in seconds.items()]


def report(title: str, rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    print(f"\n{title}")  # noqa: T201 - the table is what these files are run for
    for row in rows:
        print("  " + "  ".join(str(cell).rjust(18) for cell in row))  # noqa: T201 - likewise
