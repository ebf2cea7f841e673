"""The reduced runs of the source reports that are kept in the repository: their requests, cards and trainings agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from robench.evidence import training_card_file
from robench.plan.suite import read_suite
from robench_leaderboard import boards, read_cards

KEPT = Path(__file__).resolve().parents[1] / "leaderboard" / "reports"
REQUESTS = sorted((KEPT / "requests").glob("*.toml"))


@pytest.fixture(scope="module")
def cards():
    return read_cards([KEPT / "cards"])


@pytest.fixture(scope="module")
def trainings():
    return [
        training_card_file.decode(path.read_bytes(), str(path)) for path in sorted((KEPT / "trainings").glob("*.json"))
    ]


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_what_a_request_asks_for_is_what_its_cards_hold(path, cards):
    asked = {
        (spec.dataset, victim.partition("[")[0], defense.partition("[")[0], attack.partition("[")[0])
        for spec in read_suite(path).runs
        for victim in spec.victim
        for defense in ("none", *spec.defense)
        for attack in spec.attack
    }
    held = {
        (cell.dataset.name, cell.victim.name, cell.defense.name, cell.attack.name)
        for cell in (card.cell for card in cards)
    }

    assert asked <= held


def test_every_report_that_can_be_run_here_has_a_request_or_a_suite_as_it_stands():
    assert {path.stem for path in REQUESTS} == {
        "report-000-001", "report-002", "report-003-cifar10", "report-003-mnist", "report-004", "report-plants",
    }  # fmt: skip


def test_every_victim_trained_on_the_spot_has_its_training_beside_the_cards(cards, trainings):
    trained = {card.model.victim for card in cards if card.model.training is not None}

    assert trained
    assert trained == {training.weights for training in trainings}


def test_no_card_is_disproved_and_the_suspects_are_those_that_the_readme_explains(cards):
    assert {card.gate.verdict for card in cards} <= {"VALID", "SUSPECT"}
    suspects = {
        (card.cell.dataset.name, card.cell.victim.name, card.cell.defense.name, check.name)
        for card in cards
        for check in card.gate.checks
        if card.gate.verdict == "SUSPECT" and check.status == "suspect"
    }
    assert suspects == {
        ("imagefolder", "torchvision", "none", "above chance"),
        ("fashion-mnist", "mlp", "pgd-at", "queries <= gradients"),
    }


def test_every_card_is_from_a_clean_revision_and_what_is_compared_from_one(cards):
    assert not [card.file_name for card in cards if card.environment.dirty]
    for board in boards(cards):
        assert len({card.environment.revision for row in board.rows for card in row.cards}) == 1
