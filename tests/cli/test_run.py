"""The main job, as a newcomer runs it, on 60 digits."""

from __future__ import annotations

import hashlib
import json

import pytest


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def artifacts(store):
    return {name for name in contents(store) if not name.startswith("locks")}


def test_it_prints_a_table_and_where_everything_is(real_run):
    assert real_run.done.code == 0
    assert "digits: Linf 8/255, 3x32x32, n = 60, victim tiny-clip" in real_run.done.said
    for word in ("none", "tecoa", "clean", "robust", "verdict"):
        assert word in real_run.done.out
    assert f"cards: {real_run.out / 'cards'}" in real_run.done.out
    assert f"leaderboard: {real_run.out / 'LEADERBOARD.md'}" in real_run.done.out


def test_progress_goes_to_stderr(real_run):
    assert "craft pgd on tecoa (" in real_run.done.err
    assert "craft pgd on" not in real_run.done.out


def test_it_writes_one_card_a_cell(real_run):
    names = [card.name for card in real_run.cards]
    assert len(names) == 4
    for name in names:
        assert name.startswith("digits-tiny-clip-")
        assert "-Linf-8_255-seed0-n60-" in name


def test_the_parameters_reached_the_components(real_run):
    card = json.loads(real_run.card("tecoa-pgd").read_text())
    assert card["cell"]["attack"]["changed"] == {"steps": 5}
    assert card["cell"]["defense"]["parameters"]["epochs"] == 1
    assert card["cell"]["n"] == card["robust"]["n"] == 60


def test_the_victim_is_good_and_falls(real_run):
    card = json.loads(real_run.card("none-pgd").read_text())
    assert card["clean"]["correct"] >= 54
    assert card["robust"]["correct"] < card["clean"]["correct"] / 2


@pytest.fixture
def again(robench, copied_run):
    """Run the command once more on a copy."""
    words = (*copied_run.words[:-4], "--store", copied_run.store, "--out", copied_run.out)
    return robench(*words)


def test_the_same_command_again_does_nothing_and_says_the_same(real_run, copied_run, again):
    assert again.code == 0
    assert again.out.splitlines()[:-2] == real_run.done.out.splitlines()[:-2]
    assert ": done" not in again.err
    assert artifacts(copied_run.store) == artifacts(real_run.store)


def test_the_same_command_again_changes_no_file(real_run, copied_run, again):
    assert contents(copied_run.out) == contents(real_run.out)


def test_a_dry_run_of_what_is_stored_has_nothing_left(robench, real_run):
    done = robench(*real_run.words, "--dry-run")
    assert done.out.count(": stored") == 4
    assert "4 cells; at most 0 forwards + 0 backwards left" in done.out


def test_a_longer_grid_reuses_the_fit(robench, real_run):
    done = robench(*real_run.words, "--dry-run", "--eps", "4/255")
    assert done.out.count("to do: ") == 4
    assert " fit " not in done.out


def test_explain_shows_every_check(robench, real_run):
    done = robench("explain", real_run.card("tecoa-pgd"))
    assert done.code == 0
    assert "tiny-clip / tecoa" in done.out
    assert "verdict: " in done.out
    for check in json.loads(real_run.card("tecoa-pgd").read_text())["gate"]["checks"]:
        assert check["name"] in done.out
        assert check["meaning"][:40] in done.said


def test_the_leaderboard_is_what_the_cards_give(robench, copied_run):
    words = ("leaderboard", copied_run.out / "cards", "-o", copied_run.out, "--check")
    assert "LEADERBOARD.md, index.html and leaderboard.json are what the cards give." in robench(*words).out
    page = copied_run.out / "LEADERBOARD.md"
    page.write_text(page.read_text().replace("| 1 |", "| 2 |"))
    tampered = robench(*words)
    assert tampered.code == 1
    assert "-| 2 | " in tampered.out
    assert "+| 1 | " in tampered.out
    robench(*words[:-1])
    assert robench(*words).code == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a robench card"),
        ("{", "is not a robench card"),
        ("[]", "does not follow card schema"),
        ("null", "does not follow card schema"),
        (
            '{"schema_version": 99}',
            "is of card schema 99, which a newer robench wrote; this one reads up to 3. Update it:",
        ),
        ('{"a": 1, "a": 2}', "a key occurs twice"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ("[" * 100_000, "is not a robench card"),
        ("1" * 10_000, "is not a robench card"),
        ("\x00\x01", "is not a robench card"),
    ],
    ids=range(10),
)
def test_what_is_no_card(robench, tmp_path, text, reason):
    (tmp_path / "card.json").write_text(text)
    for command in ("explain", "verify", "leaderboard"):
        done = robench(command, "card.json")
        assert done.code == 2
        assert "card.json" in done.err
        assert reason in done.said


def test_a_card_that_is_not_there(robench, tmp_path):
    for command in ("explain", "verify", "leaderboard"):
        done = robench(command, "gone.json")
        assert done.code == 2
        assert (
            "card gone.json cannot be read (No such file or directory); name the JSON file that robench run wrote."
            in done.said
        )


def test_a_truncated_card(robench, copied_run):
    card = copied_run.card("tecoa-pgd")
    card.write_bytes(card.read_bytes()[:-100])
    done = robench("explain", card)
    assert done.code == 2
    assert f"{card} is not a robench card: " in done.said


def test_a_card_cannot_drive_the_terminal(robench, copied_run):
    card = copied_run.card("tecoa-pgd")
    content = json.loads(card.read_text())
    content["gate"]["checks"][0]["meaning"] = "all good [red]\x1b[2J\x1b]0;owned\x07 [/nothing]"
    card.write_text(json.dumps(content))
    done = robench("explain", card)
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "\x07" not in done.out
    assert "all good [red]" in done.out


def test_a_run_fails_on_the_verdicts_that_it_is_told_to(robench, copied_run):
    # One step alone says little of a row: SUSPECT, and never INVALID.
    words = ("run", "--attack", "fgsm", "--n", "60", "--store", copied_run.store, "--out", "alone")
    for least, code in ((None, 0), ("invalid", 0), ("suspect", 1)):
        done = robench(*words, *(("--fail-on", least) if least else ()))
        assert done.code == code, done.said
        assert ("--fail-on suspect: 1 of 1 numbers do not pass:" in done.err) == bool(code)
    assert "SUSPECT: robench explain alone/cards/digits-tiny-clip-none-fgsm-" in done.err


def test_a_row_is_shown_with_its_cards_of_earlier_runs(robench, copied_run):
    words = [str(word) for word in copied_run.words]
    words[words.index("fgsm,pgd")] = "fgsm"
    del words[words.index("attack.steps=5") - 1 : words.index("attack.steps=5") + 1]
    for option, place in (("--store", copied_run.store), ("--out", copied_run.out)):
        words[words.index(option) + 1] = str(place)
    done = robench(*words)
    assert done.code == 0, done.said
    assert f"The tables hold 2 cards of earlier runs in {copied_run.out / 'cards'} as well" in done.said
    rows = {line.split()[1]: line.split() for line in done.out.splitlines() if " VALID" in line}
    both = {line.split()[1]: line.split() for line in copied_run.done.out.splitlines() if " VALID" in line}
    assert rows.keys() == both.keys() >= {"none"}
    assert {name: row[2:6] for name, row in rows.items()} == {name: row[2:6] for name, row in both.items()}
