"""What a level allows, and how its passes are dealt out: arithmetic by hand."""

from __future__ import annotations

import pytest

from robench.errors import SpecError
from robench.gate.level import LEVELS, level_of
from robench.gate.pass_budget import PassBudget


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


@pytest.mark.parametrize(
    ("part", "cost", "wanted", "least", "images"),
    [
        (0.5, 10, 100, 2, 35),  # 1000 passes * 1.0 * 0.7 * 0.5 / 10
        (0.5, 10, 20, 2, 20),  # no more than wanted
        (0.01, 10, 20, 2, 2),  # a few are always tried
        (0.01, 10, 20, 4, 4),
        (0.01, 10, 1, 4, 1),  # though never more than wanted
        (0.5, 0, 1000, 2, 350),  # a probe without passes is charged one
    ],
)
def test_a_purse_deals_out_its_share(part, cost, wanted, least, images):
    assert PassBudget(1000, level_of("standard"), 0.7).images(part, cost, wanted, least) == images


def test_thorough_has_no_limit():
    assert PassBudget(1, level_of("thorough"), 0.3).images(0.01, 1e9, 77) == 77


def test_a_dear_attack_is_tried_on_no_image_rather_than_beyond_the_share():
    budget = PassBudget(1000, level_of("quick"), 0.3)  # 45 passes

    assert [budget.attacked(0.2, cost, 8, 2) for cost in (4, 22, 23, 5000)] == [2, 2, 0, 0]
    assert [budget.allowed(0.2, cost) for cost in (45, 46)] == [float("inf"), 9.0]
    assert PassBudget(1, level_of("thorough"), 0.3).attacked(0.1, 1e9, 5) == 5
