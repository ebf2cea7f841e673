"""Progress on the terminal, with rich; on a pipe a line for each finished stage."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

T = TypeVar("T")


class Terminal:
    """Show one bar a stage, on stderr so that tables can be piped."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    def track(self, items: Iterable[T], total: int, text: str) -> Iterator[T]:
        """Yield ``items`` while the bar ``text`` moves."""
        bar = self._bars.add_task(text, total=total)
        begun = time.perf_counter()
        try:
            for item in items:
                yield item
                self._bars.advance(bar)
            # A finished bar becomes a line: a long grid must not fill the screen with bars.
            seconds = time.perf_counter() - begun
            self._bars.console.print(f"{text} ({seconds:.1f} s)", style="dim", highlight=False, markup=False)
        finally:
            self._bars.remove_task(bar)

    def note(self, text: str) -> None:
        """Print one line above the bars."""
        self._bars.console.print(text, style="yellow", highlight=False, soft_wrap=True, markup=False)


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Show progress inside."""
    console = Console(stderr=True)
    columns = (
        # A braille pattern is a letter of few terminals' code pages.
        SpinnerColumn("dots" if console.encoding.lower().startswith("utf") else "line"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=False) as bars:
        yield Terminal(bars)
