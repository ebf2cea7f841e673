"""``robench run --workers N``: the same command in N processes that share the store; each takes what is free."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from robench.cli.options import warn

#: What a worker is: this program, given the same words.
PROGRAM = ("-P", "-c", "from robench.cli import main; main()")
#: What a worker is told otherwise.
TOLD = ("--out", "-o", "--workers")


@contextmanager
def helped_by(workers: int, words: Sequence[str]) -> Iterator[None]:
    """Let ``workers`` - 1 processes more work on the command ``words`` inside; this one needs none of them to finish.

    Each takes the GPU of its number, where there are several. What a worker prints and renders is dropped: the cells it
    measured are in the store, from where this process has them.
    """
    if workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="robench-workers-") as folder:
        started = [_start(number, words, Path(folder)) for number in range(1, workers)]
        try:
            yield
        finally:
            for worker in started:
                worker.terminate()
            codes = [worker.wait() for worker in started]
        for number, code in enumerate(codes, 1):
            if code not in (0, 1) and code > 0:  # below 0 it was ended, by us if by nobody before
                said = last_line(Path(folder) / f"{number}.log")
                warn(f"Worker {number} gave up ({said}); the others did its work.")


def _start(number: int, words: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    places = ["--out", str(folder / str(number))]
    environment = {**os.environ, "LOCAL_RANK": str(number)}
    with (folder / f"{number}.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - this program, and the user's own words
            [sys.executable, *PROGRAM, *without(words, TOLD), *places], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip


def without(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return a command without options and their values; options may be written --out=DIR and -oDIR."""
    attached = tuple(option for option in options if not option.startswith("--"))
    kept: list[str] = []
    skip = False
    for word in words:
        if not skip and word.partition("=")[0] not in options and not word.startswith(attached):
            kept.append(word)
        skip = not skip and word in options
    return kept


def last_line(log: Path) -> str:
    """Return what a process said last, for a sentence about its end."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
