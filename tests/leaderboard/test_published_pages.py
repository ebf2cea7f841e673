"""A figure of the ledger stands beside its row on every face: pages, report, their tables, JSON and CSV."""

from __future__ import annotations

import csv
import json

import msgspec
import pytest

from robench_exports.csv import CSV
from robench_leaderboard.ranking.board import boards
from robench_leaderboard.render.pages import render_pages
from robench_leaderboard.report import render_report, write_tables
from robench_leaderboard.report.report_data import Report

#: The recipe of report 003, part III, as a card records it.
VICTIM = {
    "hidden": "32 16", "epochs": 20, "batch_size": 512, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.01,
    "validation": 0.0,
}  # fmt: skip
#: 874 and 600 of 1,000: 87.4 [85.2, 89.3] and 60.0 [56.9, 63.0] %.
CLEAN, ROBUST = [place < 874 for place in range(1000)], [place < 600 for place in range(1000)]


@pytest.fixture
def cards(make_card):
    def make(eps, **victim):
        card = make_card(ROBUST, CLEAN, dataset="mnist", dataset_changed={"val": 10}, attack="fgsm", eps=eps)
        record = msgspec.structs.replace(
            card.cell.victim, changed={**VICTIM, **victim}, parameters={**VICTIM, **victim}
        )
        training = msgspec.structs.replace(card.training, history=[{"epoch": 19, "accuracy": 0.875}])
        return msgspec.structs.replace(
            card,
            cell=msgspec.structs.replace(card.cell, victim=record),
            model=msgspec.structs.replace(card.model, training=training),
        )

    return make


def report_of(found):
    return Report(tuple(boards(found)), {})


def test_the_pages_and_the_report_show_it(cards):
    pages = render_pages([cards(0.05)])
    row = "| mlp\\[hidden=32 16\\] / none / fgsm at 0.05 | robust | 65.65 | 60.00 \\[56.9, 63.0\\] | 2.7 above |"
    assert row in pages["LEADERBOARD.md"]
    assert "| clean | 87.46 | 87.40 \\[85.2, 89.3\\] | inside | VALID |" in pages["LEADERBOARD.md"]
    for page in (pages["index.html"], render_report(report_of([cards(0.05)]))):
        assert "Published beside measured" in page
        for word in ("65.65", "60.00 [56.9, 63.0]", "2.7 above", "87.46"):
            assert f"<td>{word}</td>" in page or f'<td class="number">{word}</td>' in page


def test_what_is_another_row_shows_nothing(cards):
    for other in (cards(0.05, epochs=5), cards(0.05, hidden="1024 1024")):
        assert "ublished" not in render_pages([other])["LEADERBOARD.md"].partition("## What")[0]
        assert "ublished beside" not in render_report(report_of([other]))
    # Another radius: what was not attacked is the same.
    page = render_pages([cards(0.1)])["LEADERBOARD.md"]
    assert "| clean | 87.46 |" in page
    assert "65.65" not in page


def test_json_holds_it_and_is_as_it_was_without(cards):
    (row,) = json.loads(render_pages([cards(0.05)])["leaderboard.json"])["boards"][0]["rows"]
    stated = {figure["figure"]: figure for figure in row["published"]}
    assert set(stated) == {"clean", "robust"}
    robust = stated["robust"]
    assert (robust["percent"], robust["measured"], robust["attack"], robust["surrogate"]) == (65.65, 0.6, "fgsm", "")
    assert (round(robust["low"], 3), round(robust["high"], 3)) == (0.569, 0.63)
    assert (robust["source"], robust["place"], robust["split"]) == (
        "report 003, part III", "section (b), #2 and #3", "test",
    )  # fmt: skip
    assert (
        "published" not in json.loads(render_pages([cards(0.05, epochs=5)])["leaderboard.json"])["boards"][0]["rows"][0]
    )


def test_tables_hold_it(cards, tmp_path):
    CSV().write([cards(0.05)], tmp_path / "rows.csv")
    (line,) = csv.DictReader((tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines())
    assert line["published"] == (
        "clean 87.46 (report 003, part III, section (b), #2 and #3); "
        "robust under fgsm 65.65 (report 003, part III, section (b), #2 and #3)"
    )
    write_tables(report_of([cards(0.05)]), tmp_path / "tables")
    lines = list(csv.DictReader((tmp_path / "tables" / "published.csv").read_text(encoding="utf-8").splitlines()))
    assert [(each["figure"], each["published_percent"], each["measured"], each["eps"]) for each in lines] == [
        ("clean", "87.46", "0.874", ""),
        ("robust", "65.65", "0.6", "0.05"),
    ]
    write_tables(report_of([cards(0.05, epochs=5)]), tmp_path / "none")
    assert not (tmp_path / "none" / "published.csv").exists()
