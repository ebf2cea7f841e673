"""Cards and a store of an earlier release, against the code of today: the same ids, answered from the store.

If this fails, an upgrade empties every store and no card of the last release verifies. Where that is meant (the version
of a stage or component was raised), say so in the release's notes and run ``python tests/golden/release.py``.
"""

from __future__ import annotations

import runpy
import tarfile
from pathlib import Path

import pytest

from robench import api
from robench.contracts.task import Silent
from robench.evidence.card_file import read
from robench.pipeline import workbench
from robench.verify.recompute import find_cell, verify
from robench.verify.repetition import IDENTICAL, ROUNDING, word

GOLDEN = Path(__file__).parents[1] / "golden"
REQUEST = runpy.run_path(str(GOLDEN / "release.py"))["REQUEST"]


@pytest.fixture
def release(tmp_path):
    """Return the folder of an earlier release's store and cards."""
    with tarfile.open(GOLDEN / "release.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def cards(release):
    return {card.id: card for card in map(read, (release / "cards").glob("*.json"))}


def test_its_cells_have_the_ids_that_they_had(cards):
    assert len(cards) == 4
    for card in cards.values():
        assert find_cell(card, "cpu") is not None, f"the cell of {card.stem} has another id now"


def test_its_store_answers_without_a_model(release, cards, monkeypatch):
    def touched(*_):
        raise AssertionError("something was computed again")

    monkeypatch.setattr(workbench.Workbench, "__init__", touched)
    assert {card.id: card for card in api.run(store=release / "store", device="cpu", **REQUEST)} == cards


def test_its_cards_verify_against_its_store(release, cards):
    for card in cards.values():
        findings = list(verify(card, release / "store", "cpu", Silent()))
        assert word(findings) in (IDENTICAL, ROUNDING), findings
        assert all(finding.good for finding in findings)


def test_built_ins_are_known_by_their_version(cards):
    assert {card.cell.attack.code for card in cards.values()} == {""}
