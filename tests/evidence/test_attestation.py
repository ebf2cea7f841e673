"""An attestation speaks of one card's content, and of nothing else; what contradicts itself says nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from robench.evidence.attestation import (
    FILE,
    FOLDER,
    Attestation,
    Evidence,
    digest_of,
    read_attestations,
    vouched,
)
from robench.evidence.card_file import read
from robench_leaderboard import boards
from robench_leaderboard.ranking.evidence_rule import EvidenceRule

CARD = read(Path(__file__).parents[1] / "golden" / "card-v3.json")


def statement(**changed) -> Attestation:
    made = Attestation(
        card=digest_of(CARD),
        id=CARD.id,
        file=CARD.file_name,
        how="rerun",
        word="identical",
        clean=CARD.clean.bits,
        robust=CARD.robust.bits,
        created="2026-01-01T00:00:00+00:00",
        environment=CARD.environment,
    )
    return msgspec.structs.replace(made, **changed)


def said(*statements) -> Evidence:
    return vouched([CARD], statements).get(CARD.id, Evidence())


def test_levels_and_their_words():
    assert said().words == "reported"
    assert said(statement(how="evidence")).words == "evidence checked"
    assert said(statement(), statement(how="evidence")).words == "re-run by 1 other"
    assert said(statement(by="Ada"), statement(by="ada "), statement(by="Bob")).words == "re-run by 2 others"
    against = said(statement(by="Ada"), statement(by="Bob", word="does not repeat"))
    assert against.words == "re-run by 1 other, does not repeat for 1"
    assert against.meets("reported")
    assert not against.meets("checked")


@pytest.mark.parametrize(
    "changed",
    [
        {"card": "0" * 64},
        {"id": "0" * 64},
        {"robust": CARD.clean.bits},
        {"how": "evidence", "clean": CARD.robust.bits, "word": "repeats within rounding"},
    ],
    ids=["another content", "another cell", "identical, but other bits", "other bits in the evidence"],
)
def test_what_does_not_fit_the_card_says_nothing(changed):
    assert CARD.clean.bits != CARD.robust.bits
    assert said(statement(**changed)) == Evidence()


def test_an_edit_of_the_card_takes_its_attestations_away():
    edited = msgspec.structs.replace(CARD, created="2031-01-01T00:00:00+00:00")
    assert vouched([edited], [statement()])[edited.id] == Evidence()
    # Fields that are empty do not count, so that a later schema may bring some.
    assert digest_of(msgspec.structs.replace(CARD, credit="")) == digest_of(CARD)


def test_they_lie_beside_the_cards_and_what_is_none_costs_a_warning(tmp_path):
    path = FILE.write(statement(), tmp_path / FOLDER)
    (tmp_path / FOLDER / "odd.json").write_text("{")
    (tmp_path / FOLDER / "link.json").symlink_to(path)
    told = []
    assert read_attestations([tmp_path], told.append) == [statement()]
    assert len(told) == 1
    assert "odd.json is not a robench attestation" in told[0]


@pytest.mark.parametrize(
    ("require", "statements", "ranks"),
    [
        ("reported", (), True),
        ("checked", (), False),
        ("checked", ("evidence",), True),
        ("rerun", ("evidence",), False),
        ("rerun", ("rerun",), True),
    ],
)
def test_what_may_rank_is_what_the_page_requires(require, statements, ranks, make_valid):
    card = make_valid()
    found = vouched([card], [statement(card=digest_of(card), how=how) for how in statements])
    (board,) = boards([card], EvidenceRule(found, require))
    assert bool(board.ranked) == ranks
    if not ranks:
        assert "Its evidence is: " in board.unranked[0].reasons[-1]


@pytest.fixture
def make_valid():
    """Return a function that gives the golden card as one that the gate found VALID."""

    def make():
        checks = [msgspec.structs.replace(one, status="pass") for one in CARD.gate.checks if one.status != "skipped"]
        return msgspec.structs.replace(
            CARD, gate=msgspec.structs.replace(CARD.gate, verdict="VALID", checks=checks[:1]), created="now"
        )

    return make
