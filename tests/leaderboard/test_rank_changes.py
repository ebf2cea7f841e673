"""The comment on a pull request: which ranks move, what is new, and why a card was refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from robench.evidence.card import Card
from robench.evidence.card_file import encode, write
from robench_leaderboard.compare.rank_changes import Reading, reading_of, render_changes

MakeCard = Callable[..., Card]


def first(correct: int, n: int = 200) -> list[bool]:
    return [place < correct for place in range(n)]


def reading(*cards: Card) -> Reading:
    return Reading(cards, ())


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| digits")]


def test_nothing_changed(make_card: MakeCard):
    text = render_changes(reading(make_card()), reading(make_card()))
    assert (
        text == "## Leaderboard\n\n1 cards: 0 new, 0 changed, 0 removed, 0 refused.\n\nNo rank and no number changes.\n"
    )


def test_a_new_leader_moves_the_others(make_card: MakeCard):
    before = [make_card(first(60)), make_card(first(100), defense="jpeg")]
    text = render_changes(reading(*before), reading(*before, make_card(first(150), defense="tecoa")))
    assert "3 cards: 1 new, 0 changed, 0 removed, 0 refused." in text
    board = "| digits: Linf 8/255, 1x8x8, n = 200 "
    found = {line.split(" | ")[1]: line.rstrip(" |").split(" | ")[2:] for line in lines(text)}
    assert all(line.startswith(board) for line in lines(text))
    assert found == {
        "jpeg on mlp": ["1", "2", "50.0 \\[43.1, 56.9\\]", "50.0 \\[43.1, 56.9\\]"],
        "none on mlp": ["2", "3", "30.0 \\[24.1, 36.7\\]", "30.0 \\[24.1, 36.7\\]"],
        "tecoa on mlp": ["-", "1", "-", "75.0 \\[68.6, 80.5\\]"],
    }


def test_another_attack_lowers_a_row(make_card: MakeCard):
    before = make_card(first(100))
    text = render_changes(reading(before), reading(before, make_card(first(40), attack="apgd")))
    assert lines(text)[0].endswith("| 1 | 1 | 50.0 \\[43.1, 56.9\\] | 20.0 \\[15.0, 26.1\\] |")


def test_a_row_that_goes_and_one_whose_numbers_change(make_card: MakeCard):
    gone = make_card(first(20), defense="gone")
    before, after = make_card(first(60)), make_card(first(61), created="2027-01-01T00:00:00+00:00")
    text = render_changes(reading(before, gone), reading(after))
    assert "1 cards: 0 new, 1 changed, 1 removed, 0 refused." in text
    assert any("gone on mlp | 2 | - |" in line for line in lines(text))
    assert any("none on mlp | 1 | 1 | 30.0" in line for line in lines(text))


def test_a_card_that_is_not_ranked_says_why(make_card: MakeCard):
    bad = make_card(first(199), defense="cheat", verdict="INVALID", checks=[("ball", "invalid", "It left.")])
    text = render_changes(reading(make_card()), reading(make_card(), bad))
    assert "### New, but not ranked\n\n- INVALID: cheat on mlp: check 'ball': It left (measured 0.5" in text
    assert "not ranked (INVALID)" in text


def test_refused_files_are_named_and_the_others_are_read(make_card: MakeCard, tmp_path: Path):
    good = make_card()
    write(good, tmp_path)
    raw = json.loads(encode(make_card(seed=1)))
    raw["robust"]["correct"] += 1
    (tmp_path / "polished.json").write_text(json.dumps(raw))
    (tmp_path / "noise.json").write_text("{")
    found = reading_of([tmp_path])
    assert found.cards == (good,)
    text = render_changes(Reading((), ()), found)
    assert "1 cards: 1 new, 0 changed, 0 removed, 2 refused." in text
    assert "polished.json contradicts itself: robust counts 4 of 8, its bits do not." in text
    assert "noise.json is not a robench card" in text


def test_a_link_in_a_folder_is_refused(make_card: MakeCard, tmp_path: Path):
    target = write(make_card(), tmp_path / "elsewhere")
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "x.json").symlink_to(target)
    assert reading_of([tmp_path / "cards"]).cards == ()
    assert "is a symbolic link; put the card itself into the folder" in reading_of([tmp_path / "cards"]).refused[0]
    assert len(reading_of([tmp_path / "cards" / "x.json"]).cards) == 1


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>", "@everyone", "[x](https://example.org)", "a | b", "```", "\u202ex", "#1"]
)
def test_hostile_names_are_text(make_card: MakeCard, tmp_path: Path, name: str):
    (tmp_path / f"{name.replace('/', '_')}.json").write_text(json.dumps({name: 1}))
    bad = make_card(defense=name, victim=name, verdict="SUSPECT", checks=[(name, "suspect", name)])
    text = render_changes(Reading((), ()), Reading((bad,), reading_of([tmp_path]).refused))
    tokens = [child for token in MarkdownIt("commonmark").enable("table").parse(text) for child in token.children or []]
    assert {token.type for token in tokens} <= {"text", "softbreak", "text_special"}
    assert not set(text) & {"\u202e", "@"}


def test_a_comment_is_never_too_long(make_card: MakeCard):
    cards = [make_card(first(place % 200), defense=f"{place}{'d' * 190}") for place in range(300)]
    text = render_changes(Reading((), ()), Reading(tuple(cards), tuple("x" * 5000 for _ in range(500))))
    assert len(text) < 65_536
    assert "And 440 more." in text
