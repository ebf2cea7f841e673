"""Progress: bars in a terminal, with rich; one line that changes in a notebook; on a pipe a line a cell and a stage."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from robench.contracts.task import Progress as Shown
from robench.contracts.task import Silent
from robench.runtime.cell_count import CellCount

T = TypeVar("T")

#: Seconds between two changes of a notebook's line, and between two lines of one stage on a pipe.
PACE, INTERVAL = 0.2, 30.0


class Terminal:
    """Show one bar a stage, on stderr so that tables can be piped."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._overall: TaskID | None = None
        self.cells = CellCount(self._cell)

    def track(self, items: Iterable[T], total: int, text: str) -> Iterator[T]:
        """Yield ``items`` while the bar ``text`` moves."""
        bar = self._bars.add_task(text, total=total)
        begun = said = time.perf_counter()
        try:
            for done, item in enumerate(items, 1):
                yield item
                self._bars.advance(bar)
                now = time.perf_counter()
                if not self._bars.console.is_terminal and now - said >= INTERVAL and done < total:
                    said = now
                    self._line(f"{text}: {done} of {total} ({now - begun:.0f} s)")
            # A finished bar becomes a line: a long grid must not fill the screen with bars.
            seconds = time.perf_counter() - begun
            self._line(f"{text} ({seconds:.1f} s)")
        finally:
            self._bars.remove_task(bar)

    def note(self, text: str) -> None:
        """Print one line above the bars."""
        self._bars.console.print(text, style="yellow", highlight=False, soft_wrap=True, markup=False)

    def _line(self, text: str) -> None:
        self._bars.console.print(text, style="dim", highlight=False, markup=False, soft_wrap=True)

    def _cell(self, text: str, title: str, done: int, total: int) -> None:
        if not self._bars.console.is_terminal:
            self._line(f"{text}: {title}")
        elif self._overall is None:
            self._overall = self._bars.add_task(text, total=total, completed=done)
        else:
            self._bars.update(self._overall, description=text, completed=done, total=total)


class Notebook:
    """Show the stage that runs in one line below the cell, which needs no widgets."""

    def __init__(self) -> None:
        self._line: Any = None
        self._shown = 0.0

    def track(self, items: Iterable[T], total: int, text: str) -> Iterator[T]:
        """Yield ``items`` while the line says how many are done."""
        begun = time.perf_counter()
        for done, item in enumerate(items):
            self._say(f"{text}: {done} of {total}", time.perf_counter() - begun)
            yield item
        self._say(f"{text}: done", time.perf_counter() - begun, last=True)

    def note(self, text: str) -> None:
        """Print one line of its own."""
        sys.stderr.write(f"{text}\n")

    def _say(self, text: str, seconds: float, last: bool = False) -> None:
        from IPython.display import display

        if not last and time.perf_counter() - self._shown < PACE:
            return
        self._shown = time.perf_counter()
        line = {"text/plain": f"{text} ({seconds:.1f} s)"}
        if self._line is None:
            self._line = display(line, raw=True, display_id=True)
        else:
            self._line.update(line, raw=True)


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Show progress inside."""
    # What colours are asked for (FORCE_COLOR) is no reason to move a pipe's cursor.
    console = Console(stderr=True, force_terminal=None if sys.stderr.isatty() else False)
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


@contextmanager
def usual(wanted: bool | None) -> Iterator[Shown]:
    """Show progress inside as it is usual: where somebody looks, unless ``wanted`` says always or never."""
    if wanted is False or (wanted is None and not (in_notebook() or sys.stderr.isatty())):
        yield Silent()
    elif in_notebook():
        with warnings.catch_warnings():
            # Libraries that look for widgets when they are first imported; this needs none.
            warnings.filterwarnings("ignore", message="IProgress not found")
            yield Notebook()
    else:
        with terminal() as bars:
            yield bars


def in_notebook() -> bool:
    """Tell whether a notebook's kernel runs this process."""
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")
