"""What the gate costs: passes counted by the meter against passes counted by hand, and the promise of each level."""

from __future__ import annotations

import json

import pytest

from robench import Classifier
from robench.api import run as run_cells
from robench.evidence.card_file import encode

from ..grey import SURVIVORS, checks

#: Scoring 44 clean images, 4 steps on the 40 that are right, and scoring 44 again.
OWN = 44 + 40 * (4 + 4) + 44
STAND = SURVIVORS[8]


def passes(card):
    return card.cost.gate.forwards, card.cost.gate.backwards


def test_quick_tries_the_least_of_everything_on_a_tiny_cell(grey):
    # 0.15 * OWN * 0.7 = 43 passes for the row, 18 for the attack, so each probe takes the fewest images it may.
    (card,) = grey.run(eps="8/255", gate="quick")
    unseen, again = 16, 2 * 8  # moved images, and the clean ones by two models
    answers = 4 * 7  # first, again, alone, in company of as many of noise (twice), plain, with gradients
    # Two backwards of one forward; two steps; rounding, rivals, and two differences of two forwards.
    gradients = (4 * 10, 4 * 2)
    one_step = (2 * 2, 2)
    stronger = (4 * (11 + 1), 4 * 10)  # ten steps and the start, one verdict
    identity = (2 * 4, 2 * 4)
    trace = (2 * (4 + 1), 2 * 4)
    rescored = 8

    forwards = answers + gradients[0] + one_step[0] + stronger[0] + identity[0] + trace[0] + rescored
    forwards += unseen + again
    backwards = gradients[1] + one_step[1] + stronger[1] + identity[1] + trace[1]
    assert passes(card) == (forwards, backwards)
    assert card.gate.share == pytest.approx((forwards + backwards) / OWN, abs=1e-6)
    assert (card.gate.level, card.gate.images) == ("quick", 32)


def test_standard_tries_everything_on_all_that_stands_if_it_may(grey):
    (card,) = grey.run(eps="8/255", gate_cost=1000)
    answers = 8 * 7
    gradients = (16 * 10, 16 * 2)
    one_step = (STAND * (2 + 6), STAND)  # the whole step is asked twice, once before the five that stop short
    stronger = (2 * STAND * (41 + 1), 2 * STAND * 40)
    slopes = STAND * (4 * 4 + 2 + 1)  # each of 16 pixels, here, all of them, one verdict
    queries, noise, landscape = STAND * (150 + 1), STAND * 20, STAND * (10 + 1)
    identity, trace = (4 * 4, 4 * 4), (8 * (4 + 1), 8 * 4)
    again, double = (STAND * (4 + 1), STAND * 4), (STAND * (8 + 1), STAND * 8)
    sweep = (16 * 4 * (4 + 1), 16 * 4 * 4)
    # Moved images are as they were: 44 are answered, and of 32 that are drawn the 29 that are right are attacked.
    unseen = (44 + 32 + 29 * (4 + 1), 29 * 4)
    clean_again = 2 * 44
    both = (gradients, unseen, one_step, stronger, identity, trace, again, double, sweep)

    # At larger radii every image falls, but the toy attack takes all its steps.
    assert passes(card) == (
        answers + clean_again + slopes + queries + noise + landscape + 44 + sum(forwards for forwards, _ in both),
        sum(backwards for _, backwards in both),
    )


def test_fewer_images_are_tried_where_fewer_are_asked_for(grey):
    (card,) = grey.run(eps="8/255", gate_cost=1000, gate_images=3)
    found = checks(card)

    assert card.gate.images == 3
    assert [found[name].n for name in ("stronger attack", "queries <= gradients", "noise <= gradients")] == [3, 3, 3]
    assert found["more steps"].n == 3


def test_a_smaller_share_costs_less_and_a_larger_one_more(grey):
    shares = [grey.run(eps="8/255", gate_cost=cost)[0].gate.share for cost in (0.01, 10, 100)]

    assert shares == sorted(shares)
    assert shares[1] <= 10
    assert shares[0] < shares[1] < shares[2]


def test_the_row_is_charged_once_to_its_dearest_cell(grey):
    cards = grey.run(eps="8/255", gate="quick", attack=["step", "steps"], surrogate="self")
    by_attack = {(card.cell.attack.name, card.cell.threat.access): sum(passes(card)) for card in cards}
    dearest = by_attack.pop(("steps", "white-box"))

    assert all(dearest > 2 * other for other in by_attack.values())


def test_a_verdict_is_kept_for_each_level(grey, monkeypatch):
    first = grey.run(eps="8/255", gate="quick")
    other = grey.run(eps="8/255", gate="standard")

    def refuse(self, images):
        raise AssertionError("a cached verdict asks no model")

    monkeypatch.setattr(Classifier, "forward", refuse)
    assert grey.run(eps="8/255", gate="quick") == first
    assert grey.run(eps="8/255", gate="standard") == other
    assert [card.gate.level for card in (*first, *other)] == ["quick", "standard"]
    assert first[0].id == other[0].id


#: Images of the digits: so few that a level's promise is not kept by their number alone.
N = 200


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Return a function that runs pgd on the undefended digits, one store for all levels."""
    store = tmp_path_factory.mktemp("digits")

    def go(eps, gate):
        (card,) = run_cells(store=store, device="cpu", dataset="digits", attack="pgd", eps=eps, gate=gate, n=N)
        return card

    return go


# Most images stand at 1/255, and cost the attack all its steps; at 8/255 nearly none does.
@pytest.mark.parametrize("eps", ["1/255", "8/255"])
@pytest.mark.parametrize(("gate", "limit"), [("quick", 0.15), ("standard", 1.0)])
def test_the_promise_holds_on_the_embedded_default(digits, eps, gate, limit):
    card = digits(eps, gate)

    assert 0 < card.gate.share < limit
    own = card.cost.craft.forwards + card.cost.craft.backwards + 2 * N
    assert card.gate.share == pytest.approx(sum(passes(card)) / own, abs=1e-6)
    assert card.gate.verdict == "VALID"
    if eps == "1/255":
        assert card.robust.rate > 0.8


def test_the_share_is_in_the_card_as_json(grey):
    (card,) = grey.run(eps="8/255", gate="quick")
    written = json.loads(encode(card))["gate"]

    assert written["share"] == card.gate.share
