"""Cards of strangers: every command that reads one says a sentence, and harms, prints and runs nothing of theirs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from robench.cli import main

ROOT = Path(__file__).resolve().parents[2]
REAL = next((ROOT / "leaderboard" / "cards").glob("digits-tiny-clip-tecoa-pgd-Linf-4*"))

#: Each command on one hostile file; {0} is the file, {1} a good card, {2} an empty folder.
COMMANDS = {
    "explain": "explain {0}",
    "verify": "verify {0} --store {2}/store",
    "rerun": "verify {0} --rerun",
    "leaderboard": "leaderboard {0} -o {2}",
    "check": "leaderboard {0} -o {2} --check",
    "compare": "compare {0} {1}",
    "compare to": "compare {1} {0}",
    "submit": "submit {0} --to {2} --store {2}/store",
    "export": "export {0} --to csv",
}


def raw():
    """Return a real card as schema 2 had it, whose id nobody can compute, so that what it names is read on."""
    card = json.loads(REAL.read_text())
    card["schema_version"] = 2
    del card["cell"]["stages"]
    return card


def text(**parts):
    """Return the real card with dotted paths replaced."""
    card = raw()
    for path, value in parts.items():
        *parents, last = path.split("__")
        place = card
        for name in parents:
            place = place[name]
        place[last] = value
    return json.dumps(card).encode()


NOT_CARDS = {
    "empty": b"",
    "binary": bytes(range(256)) * 40,
    "nothing": b"null",
    "a list": b"[]",
    "NaN": REAL.read_bytes().replace(b'"seed": 0', b'"seed": NaN'),
    "Infinity": REAL.read_bytes().replace(b'"seed": 0', b'"seed": -Infinity'),
    "huge float": REAL.read_bytes().replace(b'"seed": 0', b'"seed": 1e999'),
    "huge integer": REAL.read_bytes().replace(b'"seed": 0', b'"seed": ' + b"9" * 100_000),
    "key twice": REAL.read_bytes().replace(b'"seed": 0', b'"seed": 0, "seed": 1'),
    "deep": b'{"a":' * 200_000,
    "half a pair": text(created="\ud800"),
    "wrong type": text(cell__n="many"),
    "unknown key": text(cell__execute="import os; os.system('id')"),
    "control characters in a key": text(environment={"\x1b]0;owned\x07": 1}),
    "direction characters in a key": text(environment={"\u202e": 1}),
    "long name": text(cell__defense__name="d" * 10_000_000),
    "other counts": text(robust__correct=499),
    "other images": text(data__test_n=7),
    "too large": b" " * 16_000_001,
    "another version": text(schema_version=99),
    "no version": b'{"id": "0"}',
}


@pytest.fixture
def say(monkeypatch, capsys, tmp_path):
    """Return a function that runs the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROBENCH_STORE", str(tmp_path / "store"))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["robench", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        done = capsys.readouterr()
        return stopped.value.code or 0, done.out + done.err

    return run


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", NOT_CARDS)
def test_what_is_no_card_is_one_sentence_and_leaves_nothing(say, tmp_path, command, case):
    bad = tmp_path / "bad.json"
    bad.write_bytes(NOT_CARDS[case])
    empty = tmp_path / "empty"
    empty.mkdir()
    code, said = say(*COMMANDS[command].format(bad, REAL, empty).split())
    assert code == 2
    assert said.startswith("robench: ")
    assert "bad.json" in said
    assert len(said) < 1200
    assert "Traceback" not in said
    assert all(letter.isprintable() or letter == "\n" for letter in said)
    assert everything(empty) == []


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "absent", "in a folder, a link"])
def test_what_is_no_file_is_one_sentence(say, tmp_path, command, kind):
    bad, empty = tmp_path / "bad.json", tmp_path / "empty"
    empty.mkdir()
    if kind == "folder":
        (bad / "x.json").mkdir(parents=True)
    elif kind == "pipe":
        os.mkfifo(bad)
    elif kind == "loop":
        bad.symlink_to(bad)
    elif kind == "in a folder, a link":
        bad.mkdir()
        (bad / "x.json").symlink_to(REAL)
    code, said = say(*COMMANDS[command].format(bad, REAL, empty).split())
    assert code == 2, said
    *warnings, sentence = said.splitlines()
    assert sentence.startswith("robench: ")
    # What lies in a folder costs a warning; that nothing is left then is the sentence.
    assert all(line.startswith("warning: left out: ") for line in warnings)
    assert "bad.json" in said
    assert everything(empty) == []


#: Names that mean something to a terminal, a page, a file system, a template or a shell.
NAMES = {
    "html": "<script>alert(1)</script>",
    "markdown": "[x](javascript:alert(1)) | **b** `c`",
    "terminal": "\x1b]0;owned\x07\x1b[31m",
    "direction": "\u202egnp.exe\u2066",
    "path": "../../../../tmp/owned",
    "absolute": "/etc/passwd",
    "template": "{{ 7331 * 7331 }}{% for x in y %}",
    "markup": "[bold red]x[/bold red][/nonsense]",
    "shell": "$(id); `id` && id",
    "format": "%s {0} {card.__class__}",
    "formula": "=HYPERLINK(1)",
    "lines": "a\nb\r\nc\u2028d",
}


@pytest.mark.parametrize("case", NAMES)
def test_names_are_shown_and_not_obeyed(say, tmp_path, case):
    name = NAMES[case]
    card = raw()
    for role in ("defense", "attack", "victim"):
        card["cell"][role]["name"] = name
    card["environment"] |= {"device": name, "packages": {name: name}, "platform": name}
    card["gate"]["checks"][0] |= {"name": name, "status": "suspect", "meaning": name, "threshold": name}
    card["cell"]["given"] |= {"attack": [name], "victim": [name]}
    bad, out = tmp_path / "bad.json", tmp_path / "out"
    bad.write_text(json.dumps(card))
    out.mkdir()
    for command, template in COMMANDS.items():
        code, said = say(*template.format(bad, REAL, out).split())
        assert code in (0, 1, 2, 3), command
        assert "Traceback" not in said
        assert not set(said) & set("\x1b\x07\u202e\u2066\u2028\r"), command
        assert "53743561" not in said
    code, said = say("leaderboard", bad, "--changes", REAL)
    assert code == 0
    assert "<script" not in said
    written = {path.name for path in out.iterdir()} - {"store"}
    assert written <= {"LEADERBOARD.md", "index.html", "leaderboard.json"}
    assert "<script>alert" not in (out / "LEADERBOARD.md").read_text() + (out / "index.html").read_text()
    assert not list(tmp_path.parent.glob("owned*"))
    assert not Path("/tmp/owned").exists()  # noqa: S108 - the path that the hostile name leads to


@pytest.mark.parametrize("key", ["../../precious", "/precious", "..", ".", "a/b", "", "x" * 300 + "/", "\x00"])
def test_no_artifact_of_a_card_leads_out_of_the_store(say, tmp_path, key):
    """A damaged artifact is set aside: a card that names a folder of yours must not have it moved."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    store = tmp_path / "store"
    (store / "outcomes").mkdir(parents=True)
    card = raw()
    card["clean"]["artifact"] = card["robust"]["artifact"] = card["adversarial"]["artifact"] = key.replace(
        "/precious", str(precious)
    )
    (tmp_path / "bad.json").write_text(json.dumps(card))
    code, said = say("verify", tmp_path / "bad.json", "--store", store)
    assert code == 2
    assert "is no key of the store, so the card that names it is not from robench run." in said
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_a_real_process_dies_of_none_of_it(robench, tmp_path):
    bad = tmp_path / "\x1b[31mbad.json"
    bad.write_bytes(b'{"a":' * 200_000)
    for words in (("explain", bad), ("leaderboard", bad, "-o", tmp_path)):
        done = robench(*words)
        assert done.code == 2
        assert "\x1b" not in done.out + done.err
        assert "is not a robench card" in done.said


def test_a_card_that_names_the_whole_file_system_is_not_read_from_it(say, tmp_path):
    card = raw()
    card["cell"]["dataset"] |= {"name": "imagefolder", "parameters": {"path": "/"}, "changed": {"path": "/"}}
    card["cell"]["given"] |= {"dataset": "imagefolder", "parameters": {"dataset.path": "/"}}
    (tmp_path / "all.json").write_text(json.dumps(card))
    for words in (("verify", tmp_path / "all.json", "--rerun"), ("submit", tmp_path / "all.json", "--to", tmp_path)):
        code, said = say(*map(str, words))
        assert code in (1, 2)
        assert "Traceback" not in said
        assert "/ is the root of the file system" in said or "takes no images from /, the system's own" in said
