"""The page: what it says, that it is always the same, and that nothing in a card can break it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from robench.evidence.card import Card
from robench.evidence.plain_text import plain
from robench_leaderboard import render_markdown
from robench_leaderboard.ranking.attack_outcome import Score
from robench_leaderboard.render import formatting
from robench_leaderboard.render.markdown import escape, escape_html

MakeCard = Callable[..., Card]

HOSTILE = [
    "a | b",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "`code` ``more``",
    "two\nlines\r\n\n# heading\n\n<div>",
    "[x](javascript:alert(1))",
    "![x](https://example.org/track.png)",
    "[ref]: https://example.org",
    "**bold** _em_ ~~gone~~ \\",
    "</summary></details><h1>out",
    "-->",
    "{{ 7 * 7 }} {% raw %}",
    "https://example.org www.example.org",
    "$\\rm{x}$",
    "&lt;b&gt; &#60;",
    "\u202egnp.exe",
    "\x1b[31mred\x07",
    "\ud800",
    "[bold red]rich[/bold red] [/nonsense]",
    "x" * 190,
    "",
]


def inline(tokens: list[Token]) -> list[Token]:
    return [child for token in tokens for child in (token, *inline(token.children or []))]


def parse(page: str) -> list[Token]:
    return inline(MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(page))


def table_widths(page: str) -> list[list[int]]:
    """Return, per table, the number of cells of each of its rows."""
    tables: list[list[int]] = []
    for token in parse(page):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append(0)
        elif token.type in ("td_open", "th_open"):
            tables[-1][-1] += 1
    return tables


def hostile_card(make_card: MakeCard, name: str, **change: Any) -> Card:
    checks = [(name, "suspect", name)]
    return make_card(
        dataset=name, victim=name, defense=name, attack=name, surrogate=name, access="transfer",
        attack_changed={"why": name}, defense_changed={"how": name}, packages={name: name}, device=name,
        verdict="SUSPECT", checks=checks, **change,
    )  # fmt: skip


def test_two_boards_are_two_tables_with_n_and_intervals(zoo: list[Card]):
    page = render_markdown(zoo)
    assert "## digits: Linf 4/255, 1x8x8, n = 200" in page
    assert "## digits: Linf 8/255, 1x8x8, n = 200" in page
    line = "| 1 | tecoa, seed 0 | mlp | 55.0 [48.1, 61.7] † | +30.0 [+24.1, +36.7] | 100.0 [98.1, 100.0] | "
    assert line + "0.0 [-1.9, +1.9] | " in page
    assert "| reference |" in page


def test_every_row_of_a_table_has_as_many_cells_as_its_head(zoo: list[Card]):
    widths = table_widths(render_markdown(zoo))
    assert all(len(set(table)) == 1 for table in widths)
    assert [table[0] for table in widths if table[0] not in (7, 8, 11, 12)] == [10]


def test_unranked_rows_are_listed_with_their_sentences(zoo: list[Card]):
    page = render_markdown(zoo)
    assert "- INVALID: **cheat, seed 0** on mlp\n  - check 'ball': images left the ball (measured 0.5" in page
    assert "- SUSPECT: **masked, seed 0** on mlp" in page
    assert "It coincides with 'tecoa, seed 0'" in page
    assert "never called that" in page


def test_a_transfer_result_is_never_in_the_robust_column(make_card: MakeCard):
    via = make_card([True] * 7 + [False], defense="hollow", access="transfer", surrogate="cnn")
    page = render_markdown([make_card(), via])
    cells = next(line for line in page.splitlines() if line.startswith("| - | hollow")).split(" | ")
    assert cells[2] == "-"
    assert cells[6] == "cnn: 87.5 [52.9, 97.8]"
    assert "It is not robustness" in page


def test_details_hold_what_is_needed_to_believe_a_row(make_card: MakeCard, make_cost: Callable[..., Any]):
    card = make_card(
        attack_changed={"steps": 10, "step_size": 2 / 255, "momentum": 0.9},
        craft=make_cost(passes=21),
        device="NVIDIA H100",
        packages={"torch": "2.11.0", "numpy": "2.0"},
        seed=5,
    )
    page = render_markdown([card])
    assert "momentum=0.9, step\\_size=2/255, steps=10" in page
    for told in ("NVIDIA H100, float32", "numpy 2.0, torch 2.11.0", "seed 5", "| 21.0 | 21.0 |", "37.5 [13.7, 69.4]"):
        assert told in page
    assert escape(card.file_name) in page


def test_no_cards_is_a_page_too():
    assert "There are no cards yet." in render_markdown([])


def test_the_same_cards_give_the_same_bytes(zoo: list[Card]):
    page = render_markdown(zoo)
    for seed in range(20):
        assert render_markdown(random.Random(seed).sample(zoo, len(zoo))) == page
    assert render_markdown(zoo + zoo[:3]) == page


def test_the_page_does_not_know_when_it_was_made(zoo: list[Card], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert "2026" not in render_markdown(zoo)


# Hostile cards


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_break_nothing(make_card: MakeCard, name: str):
    page = render_markdown([make_card(), hostile_card(make_card, name)])
    harmless = render_markdown([make_card(), hostile_card(make_card, "zz")])
    assert sorted(table_widths(page)) == sorted(table_widths(harmless))
    found, expected = parse(page), parse(harmless)
    for kind in ("link_open", "image", "html_inline", "code_inline", "html_block", "heading_open", "s_open", "em_open"):
        assert sum(token.type == kind for token in found) == sum(token.type == kind for token in expected), kind
    blocks = [token.content for token in found if token.type == "html_block"]
    assert all("<script" not in block and "<h1" not in block and "<img" not in block for block in blocks)
    page.encode()


@given(st.text(max_size=40))
@settings(max_examples=60)
def test_any_name_is_shown_literally(name: str):
    tokens = parse(f"| head |\n|--|\n| x {escape(name)} |\n")
    assert {token.type for token in tokens} <= {
        "table_open", "thead_open", "tr_open", "th_open", "inline", "th_close", "tr_close", "thead_close",
        "tbody_open", "td_open", "td_close", "tbody_close", "table_close", "text", "text_special",
    }  # fmt: skip
    shown = "".join(token.content for token in tokens if token.type in ("text", "text_special"))
    assert shown == ("headx " + plain(name, 300)).strip()


@given(st.text(max_size=60), st.integers(2, 30))
def test_plain_text_is_one_short_printable_line(text: str, limit: int):
    shown = plain(text, limit)
    assert len(shown) <= limit
    assert "\n" not in shown
    assert all(letter.isprintable() or letter == " " or ord(letter) > 127 for letter in shown)
    shown.encode()


def test_ten_megabytes_are_cut():
    assert len(escape("x" * 10_000_000)) == 300
    assert escape_html("<" * 10).count("&lt;") == 10


def test_a_long_defense_does_not_hide_its_seed(make_card: MakeCard):
    long = {"a": "b" * 190}
    alike = [make_card(defense="d" * 190, defense_changed=long, seed=seed) for seed in (0, 1)]
    page = render_markdown([*alike, make_card(defense="d" * 190, defense_changed={"a": "c" * 190})])
    assert "…, seed 0 |" in page
    assert "…, seed 1 |" in page


# Numbers


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "-"), (0.0, "0"), (0.01234, "0.012"), (0.1, "0.10"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1,234")],
)
def test_decimals(value: float | None, expected: str):
    assert formatting.decimal(value) == expected


def test_percent_with_interval():
    assert formatting.percent(Score(187, 500)) == "37.4 [33.3, 41.7]"
    assert formatting.percent(Score(0, 8)) == "0.0 [0.0, 32.4]"
    assert formatting.percent(None) == "-"


@pytest.mark.parametrize(
    ("correct", "expected"),
    [
        (3, "0.0 [-32.4, +32.4]"),
        (4, "+12.5 [-24.0, +47.1]"),
        (2, "-12.5 [-47.1, +24.0]"),
    ],
)
def test_gain_has_a_sign(make_card: MakeCard, correct: int, expected: str):
    page = render_markdown([make_card(), make_card([place < correct for place in range(8)], defense="jpeg")])
    assert f"| {expected} |" in page
