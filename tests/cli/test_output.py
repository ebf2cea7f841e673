"""``-o`` of every command: a file has what would be printed, ``-`` is the standard output, and errors leave nothing."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest

from robench.cli import main
from robench.cli.commands import robench as group

from ..bad_inputs import REAL, ROOT
from ..fork_server import script

CARDS = ROOT / "leaderboard" / "cards"
OTHER = next(CARDS.glob("digits-tiny-clip-tecoa-fgsm-Linf-4*"))

PRINTING = (
    *("list attack", "show pgd", "suites digits", "plugins --json", "protocol list", "completion bash", "store info"),
    *("protocol show tecoa-16", "protocol diff tecoa-16 ttc", f"explain {REAL}", f"export {REAL} --to csv"),
)


def leaves(command, name=""):
    if isinstance(command, click.Group):
        return {k: v for each, sub in command.commands.items() for k, v in leaves(sub, f"{name} {each}").items()}
    return {name.strip(): command}


COMMANDS = leaves(group)


@pytest.fixture
def say(monkeypatch, capsysbinary, tmp_path):
    """Return a function that runs a command line in this process and returns exit code, output and errors, as bytes."""
    (tmp_path / "store").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROBENCH_STORE", str(tmp_path / "store"))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["robench", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code or 0, *capsysbinary.readouterr()

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_it(name):
    assert [param for param in COMMANDS[name].params if "-o" in param.opts]


@pytest.mark.parametrize("line", PRINTING)
def test_a_file_has_what_would_be_printed(say, line):
    code, out, _ = say(*line.split())
    assert say(*line.split(), "-o", "-") == (code, out, b"")
    again, nothing, said = say(*line.split(), "-o", "below/file.txt")
    assert code == again == 0
    assert Path("below/file.txt").read_bytes() == out
    assert nothing + said in (b"written: below/file.txt\n", b"1 cards: below/file.txt\n")


def test_a_file_is_written_where_the_exit_code_tells_something(robench, tmp_path):
    done = robench("verify", REAL, "-o", "found.txt")  # nothing is at hand to compare it with
    assert (done.code, done.out) == (3, "")
    assert "could not be compared with anything" in (tmp_path / "found.txt").read_text()


def test_an_error_leaves_no_file(say):
    code, out, err = say("show", "pgdd", "-o", "below/file.txt")
    assert (code, out) == (2, b"")
    assert b"did you mean 'pgd'?" in err
    assert not Path("below").exists()


def test_pages_on_the_standard_output(say):
    for words in (("compare", REAL, OTHER), ("report", REAL, OTHER)):
        code, out, err = say(*words, "-o", "-")
        assert (code, err) == (0, b"")
        assert out.lower().startswith(b"<!doctype html>")
        say(*words, "-o", "page.html")
        assert Path("page.html").read_bytes() == out


def test_the_leaderboard_on_the_standard_output(say):
    _, out, _ = say("leaderboard", CARDS, "-o", "-")
    assert not list(Path().glob("*.md"))
    say("leaderboard", CARDS, "-o", "pages")
    assert Path("pages/LEADERBOARD.md").read_bytes() == out
    _, out, _ = say("leaderboard", REAL, "--changes", CARDS)
    assert say("leaderboard", REAL, "--changes", CARDS, "-o", "changes.md")[1] == b"changes: changes.md\n"
    assert Path("changes.md").read_bytes() == out


def test_a_bundle_on_the_standard_output(real_run, tmp_path):
    words = [script(), "bundle", real_run.card("tecoa-pgd"), "-o", "-", "--store", real_run.store]
    done = subprocess.run(words, capture_output=True, cwd=tmp_path, check=True, timeout=800)
    with zipfile.ZipFile(io.BytesIO(done.stdout)) as archive:
        assert archive.testzip() is None
        assert archive.read("card.json") == real_run.card("tecoa-pgd").read_bytes()
    assert b"bundle: - (" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("command", "what"), [("inspect", "PNG file"), (f"bundle {REAL}", "zip file")])
def test_bytes_are_kept_from_a_terminal(tmp_path, command, what):
    terminal, end = pty.openpty()
    done = subprocess.run(
        [script(), *command.split(), "-o", "-"], stdout=end, stderr=subprocess.PIPE, cwd=tmp_path, timeout=800
    )
    os.close(end)
    os.close(terminal)
    assert done.returncode == 2
    said = f"-o - would write the bytes of a {what} to the terminal; name a file, or add > FILE."
    assert said in " ".join(done.stderr.decode().split())


def test_limit_is_understood_as_n(say):
    first, other = (say("run", "--dry-run", option, "20", "--attack", "fgsm") for option in ("--n", "--limit"))
    assert first == other
    assert b"20 forwards" in first[1]


def test_the_variable_of_the_store_is_in_every_help():
    found = {name for name, command in COMMANDS.items() if any("--store" in param.opts for param in command.params)}
    assert {"run", "verify", "store info", "doctor"} < found
    for name in found:
        assert "[env var: ROBENCH_STORE]" in " ".join(COMMANDS[name].get_help(click.Context(COMMANDS[name])).split())
