"""Top-5 accuracy (R@5, where each image is a class) stands wherever top-1 does, from six classes on."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import pytest
from rich.console import Console

from robench.cli.card_view import print_verdict
from robench_exports.latex import LaTeX
from robench_leaderboard import print_tables, publish, render_pages
from robench_leaderboard.ranking.board import boards
from robench_leaderboard.report import write_tables
from robench_leaderboard.report.report_data import Report
from robench_leaderboard.report.results_table import results

CLEAN, FGSM, PGD = [True] * 90 + [False] * 10, [True] * 60 + [False] * 40, [True] * 40 + [False] * 60


@pytest.fixture
def cards(make_card):
    """Return two attacks on one victim, with top-5 counts that no other figure has."""
    made = [make_card(FGSM, CLEAN, attack="fgsm"), make_card(PGD, CLEAN, attack="pgd")]
    return [
        msgspec.structs.replace(
            card,
            clean=msgspec.structs.replace(card.clean, top5=97),
            robust=msgspec.structs.replace(card.robust, top5=top5),
        )
        for card, top5 in zip(made, (83, 71), strict=True)
    ]


def test_a_row_has_the_lowest_over_its_attacks(cards):
    (board,) = boards(cards)
    (row,) = board.rows
    assert (row.clean_top5.correct, row.robust_top5.correct) == (97, 71)
    published = publish(cards).boards[0].rows[0]
    assert (published.clean_top5.rate, published.robust_top5.rate) == (0.97, 0.71)
    assert {attack.attack.name: attack.top5.rate for attack in published.attacks} == {"fgsm": 0.83, "pgd": 0.71}


@pytest.mark.parametrize("width", [400, 100])
def test_the_terminal_shows_it(cards, width):
    console = Console(width=width, file=io.StringIO())
    print_tables(cards, console)
    said = console.file.getvalue()
    assert "clean top-5 %" in said
    assert "97.0 [" in said
    assert "71.0 [" in said


def test_the_pages_show_it(cards):
    pages = render_pages(cards)
    assert "- Clean: 90.0 [" in pages["LEADERBOARD.md"]
    assert ", top-5 97.0 [" in pages["LEADERBOARD.md"]
    assert "| 83.0 |" in pages["LEADERBOARD.md"]
    assert '<td class="number">83.0</td>' in pages["index.html"]
    assert json.loads(pages["leaderboard.json"])["boards"][0]["rows"][0]["robust_top5"]["correct"] == 71


def test_it_stands_in_the_ranking_itself_beside_top_1(cards):
    pages = render_pages(cards)
    heads, _, row = pages["LEADERBOARD.md"].split("\n\n| rank |")[1].splitlines()[:3]
    assert "| tax | robust top-5 % | clean top-5 % |" in heads
    assert "| 71.0 | 97.0 | VALID |" in row
    assert 'data-h="robust top-5" data-key="0.71">71.0' in pages["index.html"]
    assert "R@5 where each image is a class of its own" in pages["index.html"]


def test_the_report_and_its_csv_show_it(cards, tmp_path):
    report = Report(tuple(boards(cards)), {})
    shown = results(report)
    words = {column.heading: column.text(line) for column in shown.columns for line in shown.lines}
    assert words["clean top-5 %"].startswith("97.0 [")
    assert words["robust top-5 %"].startswith("71.0 [")
    assert "transfer %" not in words
    write_tables(report, tmp_path)
    (row,) = csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_text()))
    assert (row["clean_top5"], row["robust_top5"], row["radius"]) == ("97", "71", "8/255")


def test_papers_have_it_where_it_is_asked_for(cards, tmp_path):
    for asked in (False, True):
        LaTeX(top5=asked).write(cards, tmp_path / "table.tex")
        assert ("& robust top-5 & clean top-5" in (tmp_path / "table.tex").read_text()) is asked
    assert "$71.0$ $[" in (tmp_path / "table.tex").read_text()


def test_explain_shows_it(cards):
    console = Console(width=200, file=io.StringIO())
    print_verdict(cards[1], console)
    assert "clean 90.0 % (top-5 97.0 %), attacked 40.0 % (top-5 71.0 %)" in console.file.getvalue()


def test_fewer_than_six_classes_have_none(make_card):
    card = make_card(PGD, CLEAN)
    plain = [
        msgspec.structs.replace(
            card,
            clean=msgspec.structs.replace(card.clean, top5=None),
            robust=msgspec.structs.replace(card.robust, top5=None),
        )
    ]
    console = Console(width=100, file=io.StringIO())
    print_tables(plain, console)
    assert "top-5" not in console.file.getvalue()
    for page in (
        render_pages(plain)[name].split("What the numbers mean")[0] for name in ("LEADERBOARD.md", "index.html")
    ):
        assert "robust top-5" not in page
    assert "top-5" not in {column.heading for column in results(Report(tuple(boards(plain)), {})).columns}
