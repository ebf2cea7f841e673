"""Whatever is typed wrong ends in one sentence that names it and helps, with exit code 2, and leaves nothing behind."""

from __future__ import annotations

import shlex
import sys

import click
import pytest

from robench.cli import main
from robench.cli.commands import robench

from . import bad_inputs as table
from .bad_inputs import CARD_COMMANDS, LINES, NOT_CARDS, OPTIONS, REAL, SUITES

GENERATED = table.empty_and_doubled() | table.arguments()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    table.make_files(folder)
    return folder


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path):
    """Return a function that runs a command line in this process, and gives the one sentence that it must end in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROBENCH_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("ROBENCH_WITHOUT", "")  # --without tells the processes of a run through it

    def run(words):
        monkeypatch.setattr(sys, "argv", ["robench", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        done = capsys.readouterr()
        assert stopped.value.code == 2, done.out + done.err
        assert done.out == ""
        assert done.err.count("robench: ") + done.err.count("Error: ") == 1, done.err
        assert "Traceback" not in done.err
        assert len(done.err) < 3000
        assert all(letter.isprintable() or letter == "\n" for letter in done.err)
        return " ".join(done.err.split())

    return run


def check(said, what, out):
    assert what in said
    assert out in said
    assert said.rstrip()[-1] in ".?)", said


def test_the_table_knows_every_option():
    found = {
        name: {
            f"{param.opts[-1].removeprefix('--')}{'*' * param.multiple}"
            for param in command.params
            if isinstance(param, click.Option) and not param.is_flag and not param.count
        }
        for name, command in robench.commands.items()
    }
    assert {name: set(words.split()) for name, words in OPTIONS.items()} == found


def test_there_are_more_than_three_hundred():
    assert len(GENERATED) + len(LINES) + len(SUITES) + len(CARD_COMMANDS) * len(NOT_CARDS) > 500


@pytest.mark.parametrize("case", GENERATED)
def test_an_empty_value_or_one_given_twice(refused, files, case):
    words, what, out = GENERATED[case]
    check(refused([word.replace("{0}", str(files)) for word in words]), what, out)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:60])
def test_a_command_line(refused, files, tmp_path, line):
    what, out = (words.replace("{0}", str(files)) for words in LINES[line])
    check(refused(shlex.split(line.replace("{0}", str(files)))), what.strip(), out)
    assert not (tmp_path / "results" / "cards").exists()


@pytest.mark.parametrize("text", SUITES, ids=lambda text: text[:40])
def test_a_suite(refused, tmp_path, text):
    suite = tmp_path / "suite.toml"
    suite.write_text(text, encoding="utf-8")
    check(refused(["run", str(suite)]), *SUITES[text])


@pytest.mark.parametrize("command", CARD_COMMANDS)
@pytest.mark.parametrize("name", NOT_CARDS)
def test_a_file_that_is_no_card(refused, files, tmp_path, command, name):
    out = tmp_path / "out"
    out.mkdir()
    said = refused(CARD_COMMANDS[command].format(files / name, out, REAL).split())
    if (command, name) not in {("compare", "gone.json"), ("leaderboard", "gone.json"), ("report", "gone.json")}:
        check(said, NOT_CARDS[name], name)
    assert name in said
    assert not list(out.iterdir())
