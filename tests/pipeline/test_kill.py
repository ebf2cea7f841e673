"""A run that is killed at any moment goes on where it was, and ends with the same cards but for clocks."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from ..fork_server import script
from ..without_clocks import cards_in

COMMAND = [
    "run", "--defense", "tecoa", "--attack", "pgd", "--surrogate", "self", "--n", "300", "--device", "cpu",
    "-p", "attack.steps=10", "-p", "defense.epochs=3", "-p", "defense.attack_steps=1",
]  # fmt: skip


def start(folder: Path) -> subprocess.Popen[str]:
    places = ["--store", str(folder / "store"), "--out", str(folder / "out")]
    return subprocess.Popen([script(), *COMMAND, *places], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(folder: Path) -> None:
    process = start(folder)
    out, err = process.communicate(timeout=800)
    assert process.returncode == 0, out + err


def kill_when(folder: Path, pattern: str, count: int) -> None:
    """Start the command and send SIGKILL as soon as the store holds ``count`` matches of ``pattern``."""
    process = start(folder)
    try:
        deadline = time.monotonic() + 300
        while len(list((folder / "store").glob(pattern))) < count:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline, f"{pattern} never appeared"
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()


def cards(folder: Path) -> dict[str, dict]:
    return cards_in(folder / "out" / "cards")


def test_killed_while_fitting_crafting_and_scoring(tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    finish(straight)

    kill_when(killed, "tmp/fit-*.partial", 1)  # in the middle of the fit, after its first epoch
    kill_when(killed, "adversarial/*/*", 3)  # in the middle of an adversarial set of two chunks
    fits = [path.stat().st_mtime_ns for path in (killed / "store").glob("fit/*/*/meta.json")]
    kill_when(killed, "outcomes/*/*", 4)  # between two stages of a cell
    finish(killed)

    assert len(cards(straight)) == 4
    assert cards(killed) == cards(straight)
    assert set(fits) <= {path.stat().st_mtime_ns for path in (killed / "store").glob("fit/*/*/meta.json")}
    assert not list((killed / "store").glob("tmp/*.partial"))
