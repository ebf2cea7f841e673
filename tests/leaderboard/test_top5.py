"""Top-5 accuracy (R@5, where each image is a class) stands wherever top-1 does, from six classes on."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import pytest
from rich.console import Console

from robench.cli.card_view import print_verdict
from robench.evidence.card import Card
from robench_exports.latex import LaTeX
from robench_leaderboard import print_tables, publish, render_pages
from robench_leaderboard.compare.comparison import compare_cards, compare_sets
from robench_leaderboard.compare.comparison_views import comparison_html, comparison_json, print_comparison
from robench_leaderboard.ranking.across_datasets import across_datasets
from robench_leaderboard.ranking.board import boards
from robench_leaderboard.render.datasets_table import heads, legend, words
from robench_leaderboard.report import write_tables
from robench_leaderboard.report.csv_and_latex import latex, latex_of_datasets
from robench_leaderboard.report.report_data import Report
from robench_leaderboard.report.results_table import results

CLEAN, FGSM, PGD = [True] * 90 + [False] * 10, [True] * 60 + [False] * 40, [True] * 40 + [False] * 60


def counted(card: Card, clean: int | None, robust: int | None) -> Card:
    """Return the card with other top-5 counts."""
    return msgspec.structs.replace(
        card,
        clean=msgspec.structs.replace(card.clean, top5=clean),
        robust=msgspec.structs.replace(card.robust, top5=robust),
    )


@pytest.fixture
def cards(make_card):
    """Return two attacks on one victim, with top-5 counts that no other figure has."""
    made = [make_card(FGSM, CLEAN, attack="fgsm"), make_card(PGD, CLEAN, attack="pgd")]
    return [counted(card, 97, top5) for card, top5 in zip(made, (83, 71), strict=True)]


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
    plain = [counted(make_card(PGD, CLEAN), None, None)]
    console = Console(width=100, file=io.StringIO())
    print_tables(plain, console)
    assert "top-5" not in console.file.getvalue()
    for page in (
        render_pages(plain)[name].split("What the numbers mean")[0] for name in ("LEADERBOARD.md", "index.html")
    ):
        assert "robust top-5" not in page
    assert "top-5" not in {column.heading for column in results(Report(tuple(boards(plain)), {})).columns}


@pytest.fixture
def datasets(make_card):
    """Return one defense on two datasets, with top-5 counts on each."""
    given = {"a": (95, 85), "b": (91, 71)}
    return [
        counted(make_card(PGD, CLEAN, dataset=name, test=name, defense="jpeg"), *top5) for name, top5 in given.items()
    ]


def test_the_table_over_datasets_has_it_and_its_means(datasets, tmp_path):
    (table,) = across_datasets(boards(datasets))
    (row,) = table.rows
    said = dict(zip(heads(table), words(table, row), strict=True))
    assert (said["a (n = 100)"], said["b (n = 100)"]) == ("90.0 (95.0) / 40.0 (85.0)", "90.0 (91.0) / 40.0 (71.0)")
    assert said["mean clean top-5 %"] == "93.0"
    assert said["mean robust top-5 % [95 % CI]"].startswith("78.0 [")
    assert "with top-5 accuracy (R@5 of captions) in parentheses" in legend(table)
    assert "mean robust top-5 \\% [95 \\% CI] &" in latex_of_datasets(table)
    published = publish(datasets).across[0].rows[0]
    assert [each.robust_top5 for each in published.datasets] == [0.85, 0.71]
    assert (published.clean_top5.rate, published.robust_top5.rate) == (pytest.approx(0.93), pytest.approx(0.78))
    for asked in (False, True):
        LaTeX(top5=asked).write(datasets, tmp_path / "t.tex")
        written = (tmp_path / "t.tex").read_text()
        assert ("jpeg & $90.0$ ($95.0$) / $40.0$ ($85.0$) & $90.0$ ($91.0$)" in written) is asked
        assert ("mean clean top-5" in written) is asked
        assert ("in parentheses top-5" in written) is asked


def test_datasets_without_it_have_no_mean_of_it(datasets):
    one = [datasets[0], counted(datasets[1], None, None)]
    (table,) = across_datasets(boards(one))
    said = dict(zip(heads(table), words(table, table.rows[0]), strict=True))
    assert (said["a (n = 100)"], said["b (n = 100)"]) == ("90.0 (95.0) / 40.0 (85.0)", "90.0 / 40.0")
    assert not [heading for heading in said if "top-5" in heading]
    (none,) = across_datasets(boards([counted(card, None, None) for card in datasets]))
    assert "top-5" not in legend(none)


def test_the_mean_over_seeds_has_it(make_card):
    seeds = [counted(make_card(PGD, CLEAN, seed=seed), 95 + seed, 70 + 2 * seed) for seed in (0, 2)]
    pages = render_pages(seeds)
    (each,) = publish(seeds).boards[0].repeated
    assert (each.clean_top5.mean, each.robust_top5.mean) == (pytest.approx(0.96), pytest.approx(0.72))
    assert each.robust_top5.deviation == pytest.approx(0.04 / 2**0.5, abs=1e-6)
    assert (
        "| mean clean top-5 % (sd) | mean robust top-5 % (sd) |\n|:--|:--|--:|--:|--:|--:|\n" in pages["LEADERBOARD.md"]
    )
    assert " | 96.0 (sd 1.4) | 72.0 (sd 2.8) |\n" in pages["LEADERBOARD.md"]
    assert '<td class="number">72.0 (sd 2.8)</td>' in pages["index.html"]


def test_a_comparison_has_it(cards):
    found = compare_cards(cards[0], cards[1])
    console = Console(width=160, file=io.StringIO())
    print_comparison(found, console)
    lines = [line.split() for line in console.file.getvalue().splitlines() if "top-5" in line]
    assert [line[:2] for line in lines] == [["clean", "top-5"], ["accuracy", "under"]]
    assert ("83.0" in lines[1], "71.0" in lines[1], "-12.0" in lines[1], lines[1][-3:]) == (True, True, True, ["-"] * 3)
    said = comparison_json(found)["pairs"][0]
    assert (said["clean_top5"]["first"]["rate"], said["robust_top5"]["points"]) == (0.97, -12)
    assert ">-12.0</td>" in comparison_html(found)
    none = comparison_json(compare_cards(cards[0], counted(cards[1], None, None)))["pairs"][0]
    assert (none["clean_top5"], none["robust_top5"]) == (None, None)


def test_a_comparison_of_rows_takes_the_lowest_over_their_attacks(cards):
    (pair,) = compare_sets(cards[:1], cards).pairs
    assert (pair.robust_top5.first.correct, pair.robust_top5.second.correct) == (83, 71)


def test_a_board_of_the_report_in_latex_has_it(cards):
    report = Report(tuple(boards(cards)), {})
    written = latex(report, report.boards[0])
    assert "& gain & clean top-5 \\% & robust top-5 \\% & trainable" in written
    assert r"\begin{tabular}{rllrrrrrr}" in written
    assert " & 97.0 [" in written
