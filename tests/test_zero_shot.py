"""The offline zero-shot demonstration: its suite, its cards and its pages are one."""

from __future__ import annotations

from pathlib import Path

import pytest

from robench.plan.spec import plan
from robench.plan.suite import read_suite
from robench_leaderboard import boards, check_leaderboard, read_cards
from robench_leaderboard.ranking.across_datasets import across_datasets

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "leaderboard" / "zero-shot"


@pytest.fixture(scope="module")
def cards():
    return read_cards([KEPT / "cards"])


def test_its_cards_are_those_of_its_suite(cards):
    runs = read_suite(ROOT / "suites" / "zero-shot-digits.toml").runs
    asked = {cell.score_id for run in runs for cell in plan(run)}
    assert {card.id for card in cards} == asked
    assert not any(card.environment.dirty for card in cards)


def test_its_pages_are_what_its_cards_give(cards):
    assert check_leaderboard(cards, KEPT, places=[KEPT / "cards"]) == ""


def test_one_fit_is_judged_on_both_test_sets(cards):
    fitted = [card for card in cards if card.data.train]
    assert len({card.model.defended for card in fitted}) == 4  # two defenses, two training sets
    assert {card.cell.trained_on.label for card in fitted if card.cell.trained_on} == {"digits", "digits[classes=0-4]"}
    assert {card.data.train_n for card in cards if card.data.train} == {550, 1097}


def test_the_gap_is_what_its_page_says(cards):
    (table,) = across_datasets(boards(cards))
    rows = {(row.defense, row.source): row for row in table.rows}
    seen, unseen = (found.headline.rate for found in rows["fare", "digits[classes=0-4]"].rows)
    _, known = (found.headline.rate for found in rows["fare", "digits"].rows)
    page = (ROOT / "docs" / "zero-shot.md").read_text(encoding="utf-8")
    fitted_on = {"0 to 4": (seen, unseen), "all ten": (None, known)}
    for name, (left, right) in fitted_on.items():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| fare | {name} |")]
        first, second = (cell.split("/")[1].strip(" *") for cell in line.split("|")[3:5])
        assert left is None or first == f"{100 * left:.1f}"
        assert second == f"{100 * right:.1f}"
    assert unseen < seen / 2
    collapsed = rows["tecoa", "digits[classes=0-4]"].rows[1]
    assert collapsed.verdict == "SUSPECT"
    assert "above chance" in collapsed.reasons[0]
