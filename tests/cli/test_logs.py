"""``-v``: what was loaded, stored, computed and waited for, on the error stream, and nothing unless it is asked for."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading

import pytest

from robench.cli import logs, main
from robench.contracts.task import Task
from robench.evidence.store import Store
from robench.runtime.out_of_memory import halved

LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\w+) (robench[.\w]*): (.+)$", re.MULTILINE)
WORDS = ("--attack", "fgsm", "--n", "20", "--gate", "quick", "--no-gallery")


def lines(done):
    return [found.groups() for found in LINE.finditer(done.err)]


def test_a_run_says_what_it_loads_and_computes_and_then_what_it_has(robench, tmp_path):
    first = robench("run", *WORDS, "-v")
    assert first.code == 0, first.said
    said = [text for _, _, text in lines(first)]
    assert "loaded digits: 20 test images, 3x32x32, 10 classes" in said
    assert any(text.startswith("loaded tiny-clip: 82,688 parameters") for text in said)
    assert "images 0 to 19 under fgsm: are crafted" in said
    assert {level for level, _, _ in lines(first)} == {"INFO"}
    again = robench("run", *WORDS, "--attack", "pgd", "-p", "pgd.steps=2", "-vv")
    said = [text for _, _, text in lines(again)]
    assert "images 0 to 19 under fgsm: in the store" in said
    assert "images 0 to 19 under pgd: are crafted" in said
    assert any(text.startswith("read and checked: ") for text in said)
    # A third time every card is there, and nothing else is looked at.
    third = robench("run", *WORDS, "-v")
    assert [text[:19] for _, _, text in lines(third)] == ["card in the store: "]
    assert not lines(robench("run", *WORDS))


def test_json_stays_alone_on_the_standard_output(robench):
    done = robench("list", "attack", "--json", "-vv")
    assert done.code == 0
    assert done.out.startswith("{")


def test_nothing_is_logged_after_the_command(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("ROBENCH_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(sys, "argv", ["robench", "list", "attack", "-v"])
    logger = logging.getLogger("robench")
    before = [*logger.handlers]
    with pytest.raises(SystemExit):
        main()
    assert (logger.handlers, logger.level) == (before, logging.NOTSET)


def test_a_line_stays_a_line(capsys, monkeypatch):
    for terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda shown=terminal: shown, raising=False)
        handler = logs._handler()
        handler.emit(logging.LogRecord("robench.x", 20, "", 0, "a\x1b[31m\nb [red]c[/red]", (), None))
        said = capsys.readouterr().err
        assert "\x1b[31m" not in said
        assert said.count("\n") == 1
        assert "b [red]c[/red]" in said


def test_a_lock_that_is_waited_for(tmp_path, caplog):
    caplog.set_level(logging.INFO, "robench")
    store, held, wanted = Store(tmp_path), threading.Event(), threading.Event()

    def hold():
        with store.lock("fit", "ab12"):
            held.set()
            wanted.wait(10)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(10)
    handler = _Tells(wanted)
    logging.getLogger("robench").addHandler(handler)
    try:
        with store.lock("fit", "ab12"):
            pass
    finally:
        logging.getLogger("robench").removeHandler(handler)
        other.join()
    first, second = caplog.messages
    assert first == f"waiting for the process that holds {tmp_path / 'locks' / 'fit-ab12.lock'}"
    assert re.fullmatch(r"waited \d+\.\d s for .*fit-ab12\.lock", second)


class _Tells(logging.Handler):
    """Set an event at the first record, so that the other thread lets go once this one waits."""

    def __init__(self, event):
        super().__init__()
        self.event = event

    def emit(self, record):
        self.event.set()


def test_memory_that_ran_out(caplog):
    import torch

    assert halved(torch.nn.Linear(1, 1), 64, Task(classes=("a", "b"), shape=(1, 1, 1))) == 32
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "WARNING", "out of memory on cpu: 64 images at once, then 32",
    )  # fmt: skip


def test_a_library_says_nothing_by_itself(tmp_path):
    code = "import robench, logging; logging.getLogger('robench.evidence.store').warning('damaged')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("", "")
