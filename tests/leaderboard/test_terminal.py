"""The tables in a terminal, at the widths that people have."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from robench.evidence.card import Card
from robench_leaderboard import print_tables

MakeCard = Callable[..., Card]


def printed(cards: list[Card], width: int, *, color: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=color, color_system="standard" if color else None)
    print_tables(cards, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line_with(text: str, page: str) -> str:
    return next(line for line in page.splitlines() if text in line)


def titles(page: str) -> list[str]:
    return [line.strip() for line in page.splitlines()]


@pytest.mark.parametrize("width", [80, 100, 120, 140, 160, 200])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_broken(zoo: list[Card], width: int):
    page = printed(zoo, width)
    assert max(map(len, page.splitlines())) <= width
    assert page.count("55.0 [48.1, 61.7]") >= 4
    assert "55.0 [48.1, 61.7] †" in page
    for verdict in ("VALID", "SUSPECT", "INVALID"):
        assert verdict in page
    assert "…" not in page


def test_a_wide_terminal_has_one_table_per_board(zoo: list[Card]):
    page = printed(zoo, 200)
    assert page.count("peak MB") == page.count("verdict") == 2
    assert "Cost" not in page
    assert line_with("tecoa, seed 0", page).split()[0] == "1"


def test_a_middling_terminal_has_a_table_of_costs(zoo: list[Card]):
    page = printed(zoo, 130)
    assert titles(page).count("Cost") == 1
    assert "Transfer" not in titles(page)
    assert "peak MB" not in line_with("transfer %", page)


def test_a_narrow_terminal_has_tables_of_transfer_and_cost(zoo: list[Card]):
    page = printed(zoo, 80)
    assert titles(page).count("Cost") == 2
    assert titles(page).count("Transfer") == 1
    assert "cnn: 75.0 [68.6, 80.5]" in page
    assert "verdict" in line_with("robust %", page)


def test_the_title_has_what_is_compared(make_card: MakeCard):
    page = printed([make_card(), make_card(defense="jpeg")], 120)
    assert page.startswith("digits: Linf 8/255, 1x8x8, n = 8, victim mlp")
    assert "victim" not in line_with("robust %", page)


def test_the_reference_and_the_gain(make_card: MakeCard):
    page = printed([make_card(), make_card([True] * 5 + [False] * 3, defense="jpeg")], 120)
    assert "ref." in line_with("none", page)
    assert "+25.0" in line_with("jpeg", page)


def test_rows_that_are_not_ranked_say_why(zoo: list[Card]):
    page = printed(zoo, 160)
    assert "INVALID, not ranked: cheat, seed 0\n  check 'ball': images left the ball (measured 0.5" in page
    assert "SUSPECT, not ranked: masked, seed 0" in page
    assert "It coincides with 'tecoa, seed 0'" in page
    assert "It has no white-box card" in page
    assert "Transfer is not robustness" in page


def test_a_clean_board_has_no_notes(make_card: MakeCard):
    page = printed([make_card()], 120)
    assert "not ranked" not in page
    assert "Transfer" not in page
    assert "†" not in page


def test_no_cards():
    assert printed([], 80) == "There are no cards to show.\n"


def test_the_order_of_the_cards_does_not_matter(zoo: list[Card]):
    assert printed(zoo, 120) == printed(zoo[::-1], 120)


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize(
    "name", ["[bold red]x[/bold red]", "[/nonsense]", "\x1b]0;title\x07", "a\nb", ":smile:", "\ud800"]
)
def test_hostile_names_are_shown_and_not_obeyed(make_card: MakeCard, name: str, width: int):
    card = make_card(defense=name, verdict="SUSPECT", checks=[(name, "suspect", name)], dataset=name, victim=name)
    page = printed([card], width)
    assert "\x1b" not in page
    assert "\x07" not in page
    assert max(map(len, page.splitlines())) <= width
    if name.startswith(("[", ":")):
        assert name in page


def test_verdicts_are_coloured_and_also_words(zoo: list[Card]):
    assert "\x1b[" in printed(zoo, 120, color=True)
    assert "SUSPECT" in printed(zoo, 120)


@pytest.mark.parametrize("width", [80, 120])
def test_long_names_are_folded(make_card: MakeCard, width: int):
    page = printed([make_card(defense="d" * 60), make_card()], width)
    assert max(map(len, page.splitlines())) <= width
    assert page.count("d" * 10) >= 2
    assert "37.5 [13.7, 69.4]" in page


LONG = {"attack_steps": 1, "batch_size": 10, "epochs": 1, "last": 8, "learning_rate": 0.001}


def of_many_parameters(make_card: MakeCard) -> list[Card]:
    rows = [make_card(), make_card([True] * 5 + [False] * 3, defense="adv-finetune", defense_changed=LONG)]
    return [*rows, make_card([True] * 6 + [False] * 2, defense="adv-finetune", defense_changed={**LONG, "last": 2})]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_parameters_that_all_rows_share_are_said_once(make_card: MakeCard, width: int):
    page = printed(of_many_parameters(make_card), width)
    said = "Alike in all rows: adv-finetune: attack_steps=1, batch_size=10, epochs=1, learning_rate=0.001."
    assert " ".join(page.split()).count(said) == 1
    assert page.count("attack_steps") == 1
    assert "last=2" in page
    assert "last=8" in page


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_name_is_broken_in_the_middle_of_a_word(make_card: MakeCard, width: int):
    apart = [{f"parameter_{key}": f"{row}{key}" for key in "abcdefghij"} for row in (1, 2)]
    cards = [make_card(), *(make_card(defense="adv-finetune", weights=str(x), defense_changed=x) for x in apart)]
    page = printed(cards, width)
    assert all(f"parameter_{key}={row}{key}" in page for key in "abcdefghij" for row in (1, 2))
    # Names that would take many lines stand below, under the letters that rows have in the tables.
    assert titles(page).count("Rows") == 1
    assert line_with("none on mlp" if "on mlp" in page else "none", page).split()[0] in "ABC"
    assert max(map(len, page.splitlines())) <= width
