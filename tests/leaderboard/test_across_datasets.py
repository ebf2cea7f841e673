"""The table of papers: which rows are one defense on several datasets, their means, ranks and taxes, on every page."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO

import pytest
from jsonschema import Draft202012Validator
from rich.console import Console

from robench.evidence.card import Card
from robench_exports.latex import LaTeX
from robench_leaderboard import boards, print_tables, render_pages
from robench_leaderboard.ranking.across_datasets import EACH, across_datasets
from robench_leaderboard.render.datasets_table import heads, words
from robench_leaderboard.render.json_schema import schema
from robench_leaderboard.report.csv_and_latex import latex_of_datasets
from robench_leaderboard.report.page import render_report
from robench_leaderboard.report.report_data import Report

MakeCard = Callable[..., Card]


def mask(right: int, n: int = 100) -> list[bool]:
    return [place < right for place in range(n)]


@pytest.fixture(scope="module")
def cards(make_card: MakeCard) -> list[Card]:
    """Return a defense fitted on a and judged on a, b and c, one fitted on each, and the undefended victim."""

    def on(dataset: str, clean: int, robust: int, **more: object) -> Card:
        return make_card(mask(robust), mask(clean), dataset=dataset, test=f"test {dataset}", **more)

    tecoa = {"defense": "tecoa", "names": ("w",), "recipe": {"loss": "ce"}, "train": "train a"}
    via = {"access": "transfer", "surrogate": "cnn"}
    return [
        *(on(name, clean, 5) for name, clean in (("a", 90), ("b", 80), ("c", 70))),
        on("a", 85, 60, **tecoa),
        on("a", 85, 75, **tecoa, **via),
        on("b", 60, 30, **tecoa, trained_on="a"),
        on("c", 60, 20, **tecoa, trained_on="a"),
        *(on(name, 80, 50, **{**tecoa, "defense": "fare", "recipe": {}, "train": f"train {name}"}) for name in "abc"),
        on("a", 80, 50, defense="lonely"),
    ]


@pytest.fixture(scope="module")
def table(cards: list[Card]):
    (found,) = across_datasets(boards(cards))
    return found


def by_name(table):
    return {(row.defense, row.source): row for row in table.rows}


def test_a_fit_is_one_row_over_its_own_dataset_and_those_it_never_saw(table):
    rows = by_name(table)
    assert set(rows) == {("none", ""), ("tecoa", "a"), ("fare", EACH)}
    assert rows["tecoa", "a"].seen == (True, False, False)
    assert rows["fare", EACH].seen == (True, True, True)
    assert rows["none", ""].seen == (False, False, False)


def test_means_and_taxes_by_hand(table):
    row = by_name(table)["tecoa", "a"]
    assert row.robust is not None
    assert row.clean is not None
    assert row.robust.rate == pytest.approx((60 + 30 + 20) / 300)
    assert row.clean.rate == pytest.approx((85 + 60 + 60) / 300)
    assert row.tax_there == pytest.approx(5)
    assert row.tax_elsewhere == pytest.approx((20 + 10) / 2)
    assert by_name(table)["fare", EACH].tax_elsewhere is None


def test_rows_are_ranked_by_tests_on_every_dataset(table):
    # tecoa is better on a, fare on b and c: they share a rank, and both beat the undefended victim.
    assert [(row.defense, row.rank) for row in table.rows] == [("fare", 1), ("tecoa", 1), ("none", 3)]


def test_a_row_that_one_dataset_refuses_is_not_ranked(make_card: MakeCard, cards: list[Card]):
    wrong = [("ball", "invalid", "images left the ball")]
    found = [card for card in cards if (card.cell.defense.name, card.cell.dataset.name) != ("fare", "c")]
    found.append(
        make_card(mask(90), mask(80), dataset="c", test="test c", defense="fare", train="train c", names=("w",),
                  verdict="INVALID", checks=wrong)
    )  # fmt: skip
    (table,) = across_datasets(boards(found))
    row = by_name(table)["fare", EACH]
    assert (row.rank, row.robust) == (None, None)
    assert table.rows[-1] is row
    assert words(table, row)[4] == "80.0 / 90.0 / - ° !"


def test_one_dataset_makes_no_table(make_card: MakeCard):
    assert across_datasets(boards([make_card(), make_card(defense="tecoa")])) == []
    assert across_datasets(boards([make_card(), make_card(dataset="b", test="b", victim="other")])) == []


def test_the_table_says_clean_robust_and_transfer(table):
    assert heads(table)[:5] == ["rank", "defense", "a (n = 100)", "b (n = 100)", "c (n = 100)"]
    line = words(table, by_name(table)["tecoa", "a"])
    assert line[:5] == ["1", "tecoa, trained on a", "85.0 / 60.0 / 75.0 °", "60.0 / 30.0 / -", "60.0 / 20.0 / -"]
    assert line[-2:] == ["+5.0", "+15.0"]


def test_every_page_has_the_table(cards: list[Card], table, tmp_path):
    pages = render_pages(cards)
    assert "## 3 datasets: Linf 8/255, victim mlp" in pages["LEADERBOARD.md"]
    assert "| 1 | tecoa, trained on a | 85.0 / 60.0 / 75.0 ° |" in pages["LEADERBOARD.md"]
    assert '<h2 id="d1">3 datasets: Linf 8/255, victim mlp</h2>' in pages["index.html"]
    published = json.loads(pages["leaderboard.json"])
    Draft202012Validator(schema()).validate(published)
    assert published["across"][0]["datasets"] == ["a", "b", "c"]
    assert published["across"][0]["rows"][1]["tax_elsewhere"] == pytest.approx(15)

    assert 'id="datasets"' in render_report(Report(tuple(boards(cards)), {}))
    assert r"tecoa, trained on a & 85.0 / 60.0 / 75.0 $^\circ$ &" in latex_of_datasets(table)
    LaTeX().write(cards, tmp_path / "t.tex")
    assert r"1 & tecoa, trained on a & $85.0$ / $60.0$ $\circ$ &" in (tmp_path / "t.tex").read_text()
    screen = StringIO()
    print_tables(cards, Console(file=screen, width=300))
    assert "3 datasets: Linf 8/255, victim mlp" in screen.getvalue()


def test_names_of_anyone_are_escaped_in_the_table(make_card: MakeCard):
    evil = "<script>alert(1)</script>|"
    cards = [make_card(dataset=name, test=name, defense=evil) for name in ("a", "b<i>")]
    pages = render_pages(cards)
    assert "<script>alert" not in pages["LEADERBOARD.md"]
    assert "<script>alert" not in pages["index.html"]
    assert "b<i>" not in pages["index.html"]


def test_without_several_datasets_the_data_says_nothing_of_them(make_card: MakeCard):
    assert "across" not in json.loads(render_pages([make_card()])["leaderboard.json"])
