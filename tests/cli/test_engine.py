"""An engine runs the parts of a grid: the cards of one process, with a task killed and given again."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from robench.cli.engine import TOLD, run_on
from robench.cli.workers import without
from robench.errors import PluginError, SpecError

from ..without_clocks import cards_in
from .test_workers import finish, start

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "parsl"
CONFIG = (EXAMPLES / "one_machine.py").read_text()


def tasks(folder: Path) -> list[int]:
    """Return the numbers of the processes that are tasks on a store."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if b"--shard" in words and str(folder).encode() in words:
            found.append(int(place.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds the task to kill under /proc")
def test_tasks_give_the_cards_of_one_process_and_a_killed_one_is_given_again(tmp_path, one_process):
    pytest.importorskip("parsl")
    (tmp_path / "engine.py").write_text(CONFIG.replace("WORKERS = min(4, os.cpu_count() or 1)", "WORKERS = 3"))
    assert "WORKERS = 3" in (tmp_path / "engine.py").read_text()
    process = start(tmp_path, "shared", "--on", "parsl:engine.py")
    deadline = time.monotonic() + 200
    while not list((tmp_path / "shared").glob("outcomes/*/*")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    killed = tasks(tmp_path / "shared")[0]
    os.kill(killed, signal.SIGKILL)
    finish(process)
    assert not tasks(tmp_path / "shared")
    assert cards_in(tmp_path / "out" / "shared" / "cards") == one_process
    assert (tmp_path / "out" / "shared" / "LEADERBOARD.md").is_file()

    # Everything is stored: no task is given out, and the store alone answers.
    said = finish(start(tmp_path, "shared", "--on", "parsl:engine.py", "--no-gallery"))
    assert "tasks of" not in said
    finish(start(tmp_path, "shared", "--no-compute", "--shard", "1/2"))
    missing = start(tmp_path, "empty", "--no-compute")
    out, err = missing.communicate(timeout=800)
    assert missing.returncode == 2
    assert f"It is not in the store {tmp_path / 'empty'}; run it without --no-compute." in " ".join((out + err).split())


@pytest.mark.parametrize(
    ("engine", "text", "words"),
    [
        ("dask:x.py", None, "--on dask:x.py names no engine; write --on parsl:CONFIG.py (docs/clusters.md has such"),
        ("parsl:", None, "--on parsl: names no engine"),
        ("parsl:gone.py", None, "there is no file gone.py; write one that sets 'config' (docs/clusters.md)."),
        ("parsl:x.py", "1/0", "x.py fails with ZeroDivisionError: division by zero."),
        ("parsl:x.py", "config = 3", "x.py sets no 'config' that is a parsl.config.Config (docs/clusters.md)."),
    ],
)
def test_what_is_no_engine_is_refused(tmp_path, monkeypatch, engine, text, words):
    pytest.importorskip("parsl")
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("x.py").write_text(text)
    with pytest.raises(SpecError) as refused:
        run_on(engine, ["run"], (), None, tmp_path, {"workers": 1, "shard": None})
    assert words in str(refused.value)


def test_an_engine_gives_the_work_out_by_itself(tmp_path):
    pytest.importorskip("parsl")
    engine = f"parsl:{EXAMPLES / 'one_machine.py'}"
    for given, name in (({"workers": 2, "shard": None}, "--workers"), ({"workers": 1, "shard": "1/2"}, "--shard")):
        with pytest.raises(SpecError, match=f"gives the work out by itself; leave {name} out"):
            run_on(engine, ["run"], (), None, tmp_path, given)


def test_without_parsl_a_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    for name in ("parsl", "parsl.config"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PluginError, match=r"--on parsl:x.py needs Parsl; run pip install 'robench\[parsl\]'"):
        run_on("parsl:x.py", ["run"], (), None, tmp_path, {"workers": 1, "shard": None})


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning",  # Parsl leaves sockets open when it looks for this machine's addresses
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_the_ready_configurations_are_ones(file):
    pytest.importorskip("parsl")
    from robench.cli.engine import _config

    assert _config(f"parsl:{file}").executors
    gc.collect()  # here, and not in another test


def test_what_a_task_is_told_otherwise_is_left_out():
    words = ["run", "suite.toml", "--on", "parsl:x.py", "--shard=1/2", "--store", "a", "--n", "8", "--out=b"]
    assert without(words, TOLD) == ["run", "suite.toml", "--n", "8"]
