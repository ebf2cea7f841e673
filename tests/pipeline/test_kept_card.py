"""What two recordings of one cell hold is in its one file, whichever was written last."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from robench.evidence import card_file
from robench.evidence.compound_rules import STANDS
from robench.evidence.gate_consistency import verdict_of
from robench.evidence.kept_card import effort, together, write_kept
from robench.evidence.statistics import pack_bits
from robench_builtins.certificates.crown import CROWN
from robench_builtins.certificates.interval import Interval

from .test_certificates import LINE

BOUNDS = (("certificate", CROWN), ("certificate", Interval))


@pytest.fixture
def measure(grey):
    """Return a function that gives the card of one cell of the grey benchmark."""

    def card(**request):
        (found,) = grey.run(LINE, *BOUNDS, victim="line", eps="4/255", **request)
        return found

    return card


def labels(card):
    return [record.certificate.label for record in card.certificates]


def test_certificates_of_both_are_kept_with_one_check_over_them(measure, tmp_path):
    first, second = measure(certificate="crown", gate="quick"), measure(certificate="interval", gate="quick")
    write_kept(first, tmp_path)
    whole, more = write_kept(second, tmp_path)

    assert more == ["certificate crown"]
    assert sorted(labels(whole)) == ["crown", "interval"]
    assert [one.name for one in whole.gate.checks].count(STANDS) == 1
    assert whole.gate.verdict == verdict_of(whole.gate.checks)
    # The file holds: it is read with every check of its consistency.
    assert card_file.read(tmp_path / first.file_name) == whole
    assert write_kept(whole, tmp_path) == (whole, [])


@pytest.mark.parametrize("weak", [{"gate": "quick"}, {"gate": "standard", "gate_images": 4}])
def test_the_gate_that_tried_harder_stays_whichever_came_last(measure, weak):
    hard, easy = measure(gate="standard"), measure(**weak)

    assert effort(hard) > effort(easy)
    for new, old in ((hard, easy), (easy, hard)):
        assert together(new, old).gate == hard.gate
        assert together(new, old).cost == hard.cost
    bare, proved = measure(gate="standard"), measure(gate="quick", certificate="crown")
    assert together(bare, proved).gate.level == together(proved, bare).gate.level == "standard"
    assert labels(together(bare, proved)) == labels(together(proved, bare)) == ["crown"]


def test_of_two_alike_the_later_one_is_taken_and_a_protocol_stays(measure):
    old, new = measure(gate="quick"), measure(gate="quick")
    assert together(replace(new, created="later"), old).created == "later"
    followed = replace(old, cell=replace(old.cell, protocol="tecoa-16"))
    assert together(new, followed).cell.protocol == together(followed, new).cell.protocol == "tecoa-16"


def test_nothing_is_kept_of_a_card_that_states_other_answers(measure):
    old, new = measure(gate="standard", certificate="crown"), measure(gate="quick")
    mask = [not old.robust.mask()[0], *old.robust.mask()[1:]]
    other = replace(old, robust=replace(old.robust, bits=pack_bits(mask)))
    assert together(new, other) == new
    assert together(new, replace(old, model=replace(old.model, defended="0" * 64))) == new


def test_another_cell_or_no_card_is_nothing_to_keep(measure, tmp_path):
    card, other = measure(gate="quick"), measure(gate="standard", attack="step")
    assert together(card, other) == card
    (tmp_path / card.file_name).write_text("{}")
    assert write_kept(card, tmp_path) == (card, [])
    assert card_file.read(tmp_path / card.file_name) == card
