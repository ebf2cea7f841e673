"""Several processes on one command: the cards of one process, whoever of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from ..fork_server import script
from ..without_clocks import cards_in

COMMAND = ["run", "--attack", "pgd", "--eps", "2/255,4/255,8/255", "--n", "8", "--gate", "quick", "--device", "cpu"]
COMMAND += ["--no-gallery", "-p", "attack.steps=2"]


def start(folder, store, *more):
    places = ["--store", str(folder / store), "--out", str(folder / "out" / store)]
    return subprocess.Popen(
        [script(), *COMMAND, *places, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    )


def finish(process):
    out, err = process.communicate(timeout=800)
    assert process.returncode == 0, out + err
    return out + err


def cards(folder, store):
    return cards_in(folder / "out" / store / "cards")


def test_workers_give_the_cards_of_one_process(tmp_path, one_process):
    said = finish(start(tmp_path, "several", "--workers", "3"))
    assert "gave up" not in said
    assert len(one_process) == 3
    assert cards(tmp_path, "several") == one_process

    # Two processes that know nothing of each other; one is killed as soon as it has stored something.
    first, second = start(tmp_path, "killed"), start(tmp_path, "killed")
    deadline = time.monotonic() + 300
    while not list((tmp_path / "killed").glob("outcomes/*/*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    finish(second)
    assert cards(tmp_path, "killed") == one_process


def test_what_a_worker_is_told_otherwise_is_left_out():
    from robench.cli.workers import TOLD, without

    words = [
        "run",
        "--out",
        "a",
        "--n",
        "8",
        "--workers=2",
        "--out=b",
        "--workers",
        "3",
        "-o",
        "c",
        "-od",
        "--store",
        "--out",
    ]
    assert without(words, TOLD) == ["run", "--n", "8", "--store"]


def test_a_worker_that_cannot_work_is_told_of_and_missed_by_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr("robench.cli.workers.PROGRAM", ("-c", "import sys; sys.exit('no torch here')"))
    from robench.cli.workers import helped_by

    said = []
    monkeypatch.setattr("robench.cli.workers.warn", said.append)
    monkeypatch.setattr(subprocess.Popen, "terminate", lambda self: self.wait())
    with helped_by(3, ["run"]):
        pass
    assert said == []  # exit code 1 is that of cells that failed, which this process tells of itself
    monkeypatch.setattr(
        "robench.cli.workers.PROGRAM", ("-c", "import sys; sys.stderr.write('no memory\\n'); sys.exit(3)")
    )
    with helped_by(2, ["run"]):
        pass
    assert said == ["Worker 1 gave up (no memory); the others did its work."]
