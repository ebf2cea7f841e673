"""robench runs on systems that lack what Linux has: POSIX modules, alarms, /proc, UTF-8 terminals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from robench.errors import ContractError
from robench.runtime.timeout import time_limit

ROOT = Path(__file__).resolve().parents[1]

#: Loaded before anything else: what only POSIX or Linux has is not there.
ELSEWHERE = """
import builtins, io, os, pathlib, signal, sys

real_import = builtins.__import__

def importing(name, given=None, *rest, **named):
    # From robench itself: libraries have their own wheels for each system.
    ours = (given or {}).get("__name__", "").startswith("robench")
    if ours and name in ("resource", "fcntl", "pwd", "grp", "termios"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return real_import(name, given, *rest, **named)

builtins.__import__ = importing
for name in ("SIGALRM", "setitimer", "getitimer", "alarm", "ITIMER_REAL"):
    delattr(signal, name)
for name in ("sched_getaffinity", "sched_setaffinity"):
    delattr(os, name)

def closed(real):
    def opened(file, *words, **named):
        if isinstance(file, (str, bytes, os.PathLike)) and os.fsdecode(file).startswith(("/proc", "/sys")):
            raise PermissionError(13, "Permission denied", os.fsdecode(file))
        return real(file, *words, **named)
    return opened

builtins.open = io.open = closed(io.open)
"""


@pytest.fixture
def elsewhere(tmp_path):
    """Return a function that runs robench on a system without what POSIX and Linux have."""
    (tmp_path / "hiding").mkdir()
    (tmp_path / "hiding" / "sitecustomize.py").write_text(ELSEWHERE, encoding="utf-8")

    def run(*words, **environment):
        path = os.pathsep.join([str(tmp_path / "hiding"), *filter(None, [os.environ.get("PYTHONPATH")])])
        given = {"PYTHONPATH": path, "ROBENCH_STORE": str(tmp_path / "store"), "HF_HUB_OFFLINE": "1", "COLUMNS": "300"}
        code = "import sys; sys.argv[0] = 'robench'; from robench.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            capture_output=True,
            cwd=tmp_path,
            timeout=800,
            check=False,
            env={**os.environ, **given, **environment},
        )

    return run


def test_the_main_job_runs_without_posix_and_proc(elsewhere, tmp_path):
    words = ("run", "--n", "20", "--attack", "fgsm", "--gate", "quick", "--timeout", "200", "--no-gallery")
    done = elsewhere(*words, "--device", "cpu")
    assert done.returncode == 0, done.stderr.decode()
    (card,) = (tmp_path / "results" / "cards").glob("*.json")
    assert json.loads(card.read_text(encoding="utf-8"))["robust"]["n"] == 20
    done = elsewhere("doctor", "--offline")
    assert b"Traceback" not in done.stderr
    assert b"memory      not known on this system" in done.stdout


def work(swallowing):
    """Go on for a minute, as code that hangs does."""
    begun = time.monotonic()
    while time.monotonic() - begun < 60:
        with suppress(swallowing):
            time.sleep(0.01)


@pytest.mark.parametrize("swallowing", [ZeroDivisionError, Exception])
def test_a_hanging_attack_is_given_up_without_alarms(monkeypatch, swallowing):
    monkeypatch.delattr(signal, "setitimer")
    with pytest.raises(ContractError, match=r"work took longer than 0\.1 s for one batch"), time_limit(0.1, "work"):
        work(swallowing)


def test_work_that_ends_in_time_is_left_alone_without_alarms(monkeypatch):
    monkeypatch.delattr(signal, "setitimer")
    with time_limit(60, "work"):
        done = sum(range(1000))
    with pytest.raises(ZeroDivisionError), time_limit(60, "work"):
        done /= 0
    assert done == 499500


@pytest.mark.skipif(os.name == "nt", reason="Windows names files in UTF-8")
def test_names_of_any_alphabet_are_read_under_an_ascii_locale(tmp_path):
    folder = tmp_path / "\u0444\u043e\u0442\u043e"
    folder.mkdir()
    (folder / "suite.toml").write_text("atack = 1", encoding="utf-8")
    script = Path(sys.executable).with_name("robench")
    given = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    environment = {**{key: value for key, value in os.environ.items() if key != "PYTHONIOENCODING"}, **given}
    done = subprocess.run(
        [script, "run", str(folder / "suite.toml")], capture_output=True, timeout=800, check=False, env=environment
    )
    assert done.returncode == 2
    assert done.stderr.decode().startswith(f"robench: suite {folder / 'suite.toml'}: 'atack' is no key of a run;")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437"])
def test_a_terminal_without_a_letter_shows_a_question_mark(encoding):
    code = "from robench.cli.console import any_text\nany_text()\nprint('\\u0444 \\u2192 x')"
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False, timeout=800)
    assert (done.returncode, done.stdout.decode("ascii").strip()) == (0, "? ? x")


@pytest.mark.parametrize(
    ("text", "path", "function"),
    [
        (r"C:\nets\net.py:build", r"C:\nets\net.py", "build"),
        (r"file:C:\nets\net.py:build", r"C:\nets\net.py", "build"),
        (r"C:\nets\net.py", r"C:\nets\net.py", None),
        (r"file:net.py:build", "net.py", "build"),
        (r"\\server\share\net.py:build", r"\\server\share\net.py", "build"),
    ],
)
def test_drives_and_backslashes_are_part_of_a_file(text, path, function):
    from robench.plan.references import resolve_reference
    from robench.plan.spec import split_reference
    from robench.plugin.catalog import catalog

    name, given = split_reference(text)
    assert given == {}
    expected = {"path": path} if function is None else {"path": path, "function": function}
    assert resolve_reference(catalog(), "victim", name) == ("file", expected)


def test_drives_are_part_of_a_folder():
    from robench.cli.values import read_parameters, split_names
    from robench.plan.references import resolve_reference
    from robench.plugin.catalog import catalog

    assert resolve_reference(catalog(), "dataset", r"folder:C:\photos") == ("imagefolder", {"path": r"C:\photos"})
    for name in ("hf-dir", "torchscript", "export"):
        assert resolve_reference(catalog(), "victim", rf"{name}:D:\m\x") == (name, {"path": r"D:\m\x"})
    assert read_parameters((r"dataset.path=C:\photos",)) == {"dataset.path": r"C:\photos"}
    assert split_names(r"C:\a.py:f,C:\b.py:g") == [r"C:\a.py:f", r"C:\b.py:g"]


def test_no_module_of_one_system_is_imported_without_asking():
    """Only a guarded import may name a module that not every system has."""
    only = ("resource", "fcntl", "pwd", "grp", "termios", "msvcrt", "winreg")
    for file in [*ROOT.glob("benchmark/**/*.py"), *ROOT.glob("plugins/**/*.py"), *ROOT.glob("leaderboard/**/*.py")]:
        lines = file.read_text(encoding="utf-8").splitlines()
        for line, before in zip(lines[1:], lines, strict=False):
            if line.strip().startswith(tuple(f"import {name}" for name in only)):
                assert before.strip() == "try:", (file, line)


@pytest.mark.skipif(shutil.which("ruff") is None, reason="ruff is not installed")
def test_texts_are_read_and_written_as_utf8():
    """Windows' own encoding is another; ``encoding=`` is stated wherever a text file is opened."""
    rule = ("--select", "PLW1514", "--preview", "--isolated", "--no-cache")
    folders = [ROOT / name for name in ("benchmark", "plugins", "leaderboard")]
    done = subprocess.run(["ruff", "check", *rule, *folders], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
