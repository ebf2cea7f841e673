"""What a level allows, and how its passes are dealt out: arithmetic by hand."""

from __future__ import annotations

import pytest
import torch

from robench.errors import SpecError
from robench.gate.level import LEVELS, level_of
from robench.gate.pass_budget import FEWEST, Exhausted, Part, PassBudget, limit


def test_the_levels_are_ordered_by_effort():
    quick, standard, thorough = (LEVELS[name] for name in ("quick", "standard", "thorough"))

    assert (quick.cost, standard.cost, thorough.cost) == (0.15, 1.0, None)
    for name in ("images", "steps", "tiles", "queries", "draws", "landscape", "binarization", "sweep"):
        assert getattr(quick, name) <= getattr(standard, name) <= getattr(thorough, name)
    assert set(quick.losses) < set(standard.losses) < set(thorough.losses)


def test_standard_is_what_runs_when_nothing_is_said():
    assert level_of() is LEVELS["standard"]


def test_images_and_cost_replace_the_levels_own():
    level = level_of("quick", images=5, cost=2.5)

    assert (level.name, level.images, level.cost) == ("quick", 5, 2.5)
    assert level.steps == LEVELS["quick"].steps


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"name": "thorogh"}, "--gate thorogh is unknown; did you mean 'thorough'? Known: quick, standard, thorough."),
        ({"name": ""}, "--gate  is unknown; Known: quick, standard, thorough."),
        ({"images": 0}, "--gate-images 0 leaves the gate nothing to try; give at least 1."),
        ({"cost": 0.0}, "--gate-cost 0 is no share of the cell's own passes; give a number above 0, such as 1."),
        ({"cost": float("nan")}, "--gate-cost nan is no share of the cell's own passes"),
        ({"cost": float("inf")}, "--gate-cost inf is no share of the cell's own passes"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(given, sentence):
    with pytest.raises(SpecError) as error:
        level_of(**given)

    assert str(error.value).startswith(sentence)


def budget(own, level="standard", share=0.7, spent=0, parts=None):
    made = PassBudget(own, level_of(level), share, parts or {"probe": Part(0.5, 2), "small": Part(0.01, 4)})
    made.spent = lambda: spent
    return made


@pytest.mark.parametrize(
    ("probe", "cost", "wanted", "spent", "images"),
    [
        ("probe", 10, 100, 0, 35),  # 1000 passes * 1.0 * 0.7 * 0.5 / 10
        ("probe", 10, 20, 0, 20),  # no more than wanted
        ("probe", 10, 100, 600, 10),  # nor than what is left of the 700
        ("probe", 10, 100, 680, 2),
        ("probe", 10, 100, 681, 0),  # the fewest that tell anything do not fit
        ("small", 10, 20, 0, 4),  # they may take more than their part
        ("small", 10, 1, 0, 1),  # though never more than wanted
        ("small", 10, 0, 0, 0),
        ("probe", 0, 1000, 0, 350),  # a probe without passes is charged one
    ],
)
def test_a_budget_deals_out_its_parts(probe, cost, wanted, spent, images):
    assert budget(1000, spent=spent).images(probe, cost, wanted) == images


def test_what_does_not_fit_says_with_which_share_it_would():
    made = budget(1000, spent=695)

    assert (made.images("probe", 10, 0), made.images("probe", 1, 8)) == (0, 5)
    assert made.beyond == {}
    assert made.images("small", 10, 20) == 0
    assert made.beyond == {"small": round(4 * 10 / (0.01 * 0.7 * 1000), 3)}
    # With so much it does.
    assert PassBudget(1000, level_of(cost=5.72), 0.7, made.parts).images("small", 10, 20) == 4
    assert PassBudget(1000, level_of(cost=5.72), 0.7, made.parts).part("small") >= 40


def test_what_is_asked_at_the_end_is_set_aside():
    parts = {"probe": Part(1.0, 2), "rescored": Part(0.1, 2), "clean again": Part(0.1, 2)}
    made = budget(500, share=1.0, parts=parts)

    assert (made.left, made.images("probe", 1, 5000)) == (400, 400)
    made.spent = lambda: 400
    assert made.images("probe", 1, 5000) == 0
    assert made.images("rescored", 1, 64) == 50
    made.spent = lambda: 450
    assert made.images("clean again", 2, 64) == 25
    # No more than answers to 64 stored images, and of two models to 64 clean ones.
    assert budget(1000, share=1.0, parts=parts).left == 1000 - 3 * 64
    assert PassBudget(10_000, level_of("standard"), 1.0, parts, price=10).left == 10_000 - 3 * 64 * 10


@pytest.mark.parametrize(
    ("own", "level", "most"),
    [
        (10_000, "quick", 1500), (10_000, "standard", 10_000),
        (1_000, "quick", FEWEST), (200, "standard", 200), (150, "standard", FEWEST),  # always a few passes
        (100, "quick", 150), (100, "standard", 150), (40, "standard", 60),  # and never more than half beyond its own
    ],
)  # fmt: skip
def test_the_limit_is_the_levels_share_or_a_few_passes(own, level, most):
    assert limit(own, level_of(level)) == pytest.approx(most)
    assert limit(own, level_of("thorough")) is None


def test_thorough_has_no_limit():
    assert budget(1, "thorough").images("small", 1e9, 77) == 77
    assert budget(1, "thorough").left == float("inf")


def test_the_last_pass_stops_whoever_asks_for_more():
    model, made = torch.nn.Identity(), budget(1000)
    with made.stopping(model):
        model(torch.zeros(1))
        made.spent = lambda: 699
        model(torch.zeros(1))
        made.spent = lambda: 700
        with pytest.raises(Exhausted):
            model(torch.zeros(1))
    model(torch.zeros(1))  # afterwards nobody is stopped
    with budget(1000, "thorough", spent=1e9).stopping(model):
        model(torch.zeros(1))
