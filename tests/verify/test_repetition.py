"""A cell that was computed again is identical, repeats within rounding, or does not repeat: by a stated rule."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from robench.contracts.task import Silent
from robench.evidence.card_file import read
from robench.evidence.statistics import mcnemar, pack_bits, proportion
from robench.verify import recompute
from robench.verify.repetition import CRAFTED, IDENTICAL, OTHER, ROUNDING, SCORED, Finding, compare, word

N = 200
OLD = Path(__file__).parents[1] / "golden" / "card-v2.json"


def outcome(card, wrong, n=N):
    mask = [place not in wrong for place in range(n)]
    low, high = proportion(sum(mask), n)
    right = sum(mask)
    return replace(
        card.clean, correct=right, n=n, low=low, high=high, bits=pack_bits(mask), confusion=[[right, n - right], [0, 0]]
    )


@pytest.fixture
def card():
    """Return a card of 200 images, ten of them wrong, and forty wrong under attack."""
    card = read(OLD)
    return replace(card, cell=replace(card.cell, n=N), clean=outcome(card, range(10)), robust=outcome(card, range(40)))


@pytest.fixture
def judged(card):
    """Return a function that gives the word and the findings of a changed card, with the margins of its images."""

    def judge(again, margins=lambda name, rows: [0.0] * len(rows)):
        findings = list(compare(card, again, margins))
        return word(findings), {finding.what.removeprefix("rerun, "): finding for finding in findings}

    return judge


def other_weights(card, digit="1"):
    return replace(card, model=replace(card.model, defended=digit * 64))


def other_images(card):
    return replace(card, adversarial=replace(card.adversarial, fingerprint="2" * 64))


def test_the_same_card_is_identical_whenever_and_wherever_it_was_made(card, judged):
    slower = replace(card.cost.craft, seconds=99.0, peak_bytes=1, joules=3.0, batch_size=7)
    again = replace(card, created="2030-01-01T00:00:00Z", cost=replace(card.cost, craft=slower))
    said, findings = judged(again)
    assert said == IDENTICAL
    assert {finding.detail for finding in findings.values()} == {"the same"}


@pytest.mark.parametrize(("margin", "expected"), [(SCORED, ROUNDING), (1.1 * SCORED, OTHER)])
def test_the_same_weights_may_answer_otherwise_where_two_logits_are_equal_but_for_rounding(
    card, judged, margin, expected
):
    asked = []

    def margins(name, rows):
        asked.append((name, list(rows)))
        return [margin] * len(rows)

    said, findings = judged(replace(card, clean=outcome(card, range(11))), margins)
    assert (said, asked) == (expected, [("clean", [10])])
    assert findings["clean"].detail.startswith(
        "190 of 200 right in the card, 189 now; differing: images 10, "
        f"{int(expected == ROUNDING)} of them within 0.1% of the largest logit"
    )


@pytest.mark.parametrize(
    ("wrong", "margin", "expected"),
    [
        (range(30), CRAFTED, ROUNDING),
        (range(30), 1.1 * CRAFTED, OTHER),
        (range(42), 0.9, ROUNDING),  # two of two hundred
        (range(43), 0.9, OTHER),
    ],
)
def test_attacked_again_few_images_or_near_ones_may_differ(card, judged, wrong, margin, expected):
    again = other_images(replace(card, robust=outcome(card, wrong)))
    said, findings = judged(again, lambda name, rows: [margin] * len(rows))
    assert said == expected
    assert findings["adversarial"].rounded


def test_the_same_images_scored_again_are_held_to_rounding_alone(card, judged):
    again = replace(card, robust=outcome(card, range(41)))
    assert judged(again, lambda name, rows: [0.01])[0] == OTHER


@pytest.mark.parametrize(("wrong", "expected"), [(44, ROUNDING), (47, OTHER), (60, OTHER)])
def test_trained_again_the_rates_must_agree_as_two_samples_would(card, judged, wrong, expected):
    # 47: inside the other's interval, but seven images lost and none won is no chance (p = 0.016).
    said, findings = judged(other_images(other_weights(replace(card, robust=outcome(card, range(wrong))))))
    assert said == expected
    assert f"160 of 200 right in the card, {200 - wrong} now, " in findings["robust"].detail
    assert f"McNemar p = {mcnemar(wrong - 40, 0):.2g}" in findings["robust"].detail


def test_weights_that_nothing_trained_must_be_the_stored_ones(card, judged):
    bare = replace(card.training, trainable=0, names=[], buffers=[])
    said, findings = judged(other_weights(replace(card, training=bare)))
    assert said == OTHER
    assert findings["model"].detail.startswith("other weights, although nothing was trained")


def test_a_card_that_is_older_than_the_number_of_parameters_is_identical(card, judged):
    assert card.model.parameters is None
    assert judged(replace(card, model=replace(card.model, parameters=82_688)))[0] == IDENTICAL


def test_another_number_of_parameters_is_another_model(card):
    known, other = (replace(card, model=replace(card.model, parameters=count)) for count in (82_688, 40))
    findings = list(compare(other, known, lambda name, rows: [0.0] * len(rows)))
    assert word(findings) == OTHER


def test_a_victim_that_came_with_weights_must_have_them(card, judged):
    said, findings = judged(replace(card, model=replace(card.model, victim="3" * 64)))
    assert said == OTHER
    assert "the victim has other weights, which were not trained here" in findings["model"].detail


@pytest.mark.parametrize(
    "change",
    [
        lambda card: replace(card, cell=replace(card.cell, seed=card.cell.seed + 1)),
        lambda card: replace(card, data=replace(card.data, test="4" * 64)),
        lambda card: replace(card, training=replace(card.training, trainable=card.training.trainable + 1)),
        lambda card: replace(card, training=replace(card.training, recipe={"loss": "another"})),
        lambda card: replace(card, gate=replace(card.gate, verdict="SUSPECT")),
        lambda card: replace(card, gate=replace(card.gate, checks=card.gate.checks[1:])),
        lambda card: replace(card, adversarial=replace(card.adversarial, largest=0.0)),
        lambda card: replace(card, cost=replace(card.cost, fit=replace(card.cost.fit, forwards=1))),
        lambda card: replace(card, cost=replace(card.cost, craft=replace(card.cost.craft, images=1))),
        lambda card: replace(card, clean=replace(card.clean, confusion=[[190, 5], [5, 0]])),
    ],
    ids=["seed", "images", "trainable", "recipe", "verdict", "checks", "largest", "fit", "craft", "confusion"],
)
def test_what_no_rounding_changes_must_be_equal(card, judged, change):
    assert judged(change(card))[0] == OTHER


def test_curves_values_of_checks_and_passes_may_be_rounded(card, judged):
    check = replace(card.gate.checks[0], value=0.123)
    craft = replace(card.cost.craft, forwards=int(1.2 * card.cost.craft.forwards))
    again = replace(
        other_images(card),
        training=replace(card.training, history=[{"epoch": 0.0, "loss": 0.5}]),
        gate=replace(card.gate, checks=[check, *card.gate.checks[1:]]),
        cost=replace(card.cost, craft=craft),
    )
    said, findings = judged(again)
    assert said == ROUNDING
    assert {name for name, finding in findings.items() if finding.rounded} == {
        "training",
        "adversarial",
        "cost",
        "gate",
    }


def test_where_nothing_was_compared_there_is_no_word():
    assert word([Finding("card", True, ""), Finding("re-score", None, "")]) == ""
    assert word([Finding("card", True, ""), Finding("weights", True, "")]) == IDENTICAL


@pytest.mark.parametrize(("one", "other"), [(0, 0), (1, 0), (7, 0), (3, 9), (200, 230)])
def test_mcnemars_p_is_scipys(one, other):
    from scipy.stats import binomtest

    expected = binomtest(one, one + other).pvalue if one + other else 1.0
    assert mcnemar(one, other) == pytest.approx(expected, rel=1e-9)


def test_too_few_images_to_tell_and_a_pass_are_rounding_and_a_check_that_was_not_made_is_not(card, judged):
    def gate(**change):
        check = replace(card.gate.checks[0], **change)
        return replace(card, gate=replace(card.gate, checks=[check, *card.gate.checks[1:]]))

    assert card.gate.checks[0].status == "pass"
    assert judged(gate(status="skipped", value=0.25))[0] == ROUNDING
    assert judged(gate(status="skipped", value=None))[0] == OTHER
    assert judged(gate(status="suspect", value=0.25))[0] == OTHER


def test_a_card_of_a_release_that_computed_otherwise_is_told_so(monkeypatch):
    """As when noise came from another generator: the differences that follow are those of two releases."""
    card = read(OLD.with_name("card-v3.json"))
    raised = {stage: version + (stage in ("fit", "craft")) for stage, version in card.cell.stages.items()}
    again = replace(card, id="3" * 64, cell=replace(card.cell, stages=raised))
    monkeypatch.setattr(recompute, "plan", lambda *_: [SimpleNamespace(score_id=again.id)])
    monkeypatch.setattr(recompute, "foreign_code", lambda _: "")
    monkeypatch.setattr(recompute, "run", lambda *_, **__: [again])
    first, *_ = recompute.rerun(card, "cpu", Silent())
    assert (first.what, first.good) == ("code", None)
    assert first.detail == (
        "this installation gives the cell another id: the release that made the card computed fit, craft otherwise (the"
        " stages have other versions here), so what follows compares two releases"
    )
