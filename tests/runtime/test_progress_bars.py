"""How far a run is: cell k of n and the time left, as bars in a terminal and as plain lines on a pipe."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from robench.runtime.cell_count import CellCount, in_words

SHOWN = """
from robench.runtime import progress_bars
progress_bars.INTERVAL = 0
with progress_bars.terminal() as shown:
    shown.cells.expect(2)
    for title in ("digits / tiny-clip / none / pgd", "digits / tiny-clip / tecoa[epochs=1] / pgd"):
        shown.cells.begin(title)
        for _ in shown.track(range(3), 3, "craft pgd"):
            pass
    shown.note("a batch was halved")
"""


def test_the_time_left_is_that_of_the_cells_before():
    seconds = iter([100.0, 160.0, 200.0])
    seen = []
    count = CellCount(lambda text, title, done, total: seen.append((text, title, done, total)), lambda: next(seconds))
    count.expect(5)
    count.stored(1)
    for title in "abc":
        count.begin(title)
    assert seen == [
        ("cell 2 of 5", "a", 1, 5),
        ("cell 3 of 5, about 3 min left", "b", 2, 5),  # 60 s a cell, three are left
        ("cell 4 of 5, about 2 min left", "c", 3, 5),  # 50 s a cell, two are left
    ]


def test_the_cells_of_a_suite_are_counted_once():
    seen = []
    count = CellCount(lambda text, *_: seen.append(text), lambda: 0.0)
    for cells in (4, 1, 3):  # all of the suite, then each of its runs as it begins
        count.expect(cells)
    count.begin("a")
    assert seen == ["cell 1 of 4"]


def test_times_as_people_say_them():
    assert [in_words(seconds) for seconds in (12, 89, 600, 12600)] == ["12 s", "89 s", "10 min", "3.5 h"]


def test_a_pipe_gets_plain_lines():
    # FORCE_COLOR: some CI services set it for every process.
    done = subprocess.run(
        [sys.executable, "-c", SHOWN],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "FORCE_COLOR": "1"},
    )
    assert done.stdout == ""
    assert all(letter.isprintable() or letter == "\n" for letter in done.stderr), done.stderr
    lines = [line for line in done.stderr.splitlines() if line]
    assert lines == [
        "cell 1 of 2: digits / tiny-clip / none / pgd",
        *("craft pgd: 1 of 3 (0 s)", "craft pgd: 2 of 3 (0 s)", "craft pgd (0.0 s)"),
        "cell 2 of 2, about 0 s left: digits / tiny-clip / tecoa[epochs=1] / pgd",
        *("craft pgd: 1 of 3 (0 s)", "craft pgd: 2 of 3 (0 s)", "craft pgd (0.0 s)"),
        "a batch was halved",
    ]


def test_a_terminal_gets_bars():
    terminal, end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen([sys.executable, "-c", SHOWN], stdout=end, stderr=end, env=environment) as process:
        os.close(end)
        said = b""
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not part:
                break
            said += part
    os.close(terminal)
    assert process.returncode == 0
    assert b"\x1b[" in said
    assert b"cell 1 of 2" in said
    assert b"cell 2 of 2, about" in said
    assert "━".encode() in said
