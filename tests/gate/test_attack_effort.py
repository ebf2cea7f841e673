"""More of the same attack: steps, seeds, radii, no bounds; on attacks whose gain is known by hand."""

from __future__ import annotations

import pytest
import torch

from robench import Attack, parameter
from robench.evidence.compound_rules import undefended_falls
from robench.evidence.cross_cell_checks import falls_check

from ..grey import SURVIVORS, accused, attack, checks, corner, only

#: What else an attack is caught by that reaches only a part of its ball.
WEAK = (
    "undefended victim falls",
    "one step <= many steps",
    "measured slopes <= gradients",
    "stronger attack",
    "queries <= gradients",
    "noise <= gradients",
)


class Slow(Attack):
    """Go 1 / 24 of the way to the corner at each step."""

    name = "slow"
    steps: int = parameter(12, "number of steps", minimum=1)

    @property
    def iterative(self):
        return True

    def craft(self, model, images, labels, task):
        for step in range(self.steps + 1):
            point = corner(model, images, labels, task, min(1.0, step / 24))
            model(point)
        return point


def run(grey, made, name, **request):
    (card,) = grey.run(made, attack=name, **{"eps": "8/255", "gate_cost": 1000, **request})
    return card


def test_twice_the_steps_win_what_half_the_way_left(grey):
    # 12 of 24 steps: 4 of 8 levels. With 24 all 8: 8 more images fall.
    card = run(grey, ("attack", Slow), "slow")
    check = only(card, "more steps", "converged", *WEAK)
    won = SURVIVORS[4] - SURVIVORS[8]

    assert card.robust.correct == SURVIVORS[4]
    assert (check.status, check.value, check.n) == ("suspect", pytest.approx(won / 44), SURVIVORS[4])
    assert f"With twice the steps, slow wins {won} of {SURVIVORS[4]} images that it left standing" in check.meaning


def test_a_loss_that_still_rises_at_the_end_is_not_converged(grey):
    # Evenly spaced iterates: the last 10 of 13 make 9 / 12 of the rise.
    check = checks(run(grey, ("attack", Slow), "slow"))["converged"]

    assert (check.status, check.value, check.n) == ("suspect", 1, 8)
    assert "On 8 of 8 images the loss still rises at the end, and twice the steps win more" in check.meaning


def test_a_loss_that_has_levelled_off_is_converged(grey):
    card = run(grey, ("attack", Slow), "slow[steps=48]")

    assert not accused(card)
    assert checks(card)["converged"].value == 0


def test_a_rising_loss_alone_accuses_nobody(grey):
    # All 24 steps rise, but more of them win nothing.
    card = run(grey, ("attack", Slow), "slow[steps=24]")

    assert not accused(card)
    assert checks(card)["converged"].value == 1


def test_another_seed_that_wins_more_says_so(grey):
    # A coin a seed decides which images are attacked at all: another seed wins some of those left out.
    def lucky(model, images, labels, task):
        heads = task.uniform(images[:, :1, 0, 0], "coin") > 0
        return torch.where(heads.view(-1, 1, 1, 1), corner(model, images, labels, task), images)

    card = run(grey, attack("lucky", lucky), "lucky", eps="20/255")
    check = checks(card)["more steps"]

    assert (check.status, check.n) == ("suspect", card.robust.correct)
    assert "With another seed, lucky wins" in check.meaning


def up_to(limit, found=lambda m, x, y, t: x):
    """Return an attack that works up to a radius, and beyond it does ``found``."""

    def craft(model, images, labels, task):
        return (corner if task.threat.eps < limit else found)(model, images, labels, task)

    return attack("limited", craft)


def test_images_that_stand_at_a_larger_radius_are_suspect(grey):
    # Everything falls at 20/255, nothing at 40/255 and beyond.
    check = only(run(grey, up_to(21 / 255), "limited", eps="20/255"), "accuracy falls with eps", "unbounded attack")

    assert (check.status, check.value, check.n) == ("suspect", 1, 16)
    assert "16 of 16 images fall at a smaller eps and stand at a larger one" in check.meaning


def test_images_that_can_be_answered_at_a_blinding_radius_are_suspect(grey):
    def never(model, images, labels, task):
        return images

    card = run(grey, attack("never", never), "never")
    check = checks(card)["accuracy falls with eps"]

    assert (check.status, check.value, check.n) == ("suspect", 1, 16)
    assert "At eps = 0.5, where no image can be recognised, 16 of 16 images are still answered right (chance: 50%)" in (
        check.meaning
    )


def test_an_attack_that_fails_without_bounds_is_suspect(grey):
    check = only(run(grey, up_to(0.9), "limited"), "unbounded attack")

    assert (check.status, check.value, check.n) == ("suspect", 1, 16)
    assert "16 of 16 images withstand limited even when every pixel may take any value (indicator I6)" in check.meaning


@pytest.mark.parametrize("limit", [0.9, 0.3])
def test_an_attack_that_refuses_a_radius_nobody_asked_for_is_not_at_fault(grey, limit):
    def refuses(model, images, labels, task):
        raise ValueError("no radius of mine")

    card = run(grey, up_to(limit, refuses), "limited")

    assert not accused(card)
    assert checks(card)["unbounded attack"].status == "skipped"
    assert checks(card)["accuracy falls with eps"].status == "pass"


def test_an_honest_sweep_is_monotone_and_wins_everything_at_the_end(grey):
    (card,) = grey.run(eps="8/255", gate_cost=1000)
    found = checks(card)

    assert [found[name].status for name in ("accuracy falls with eps", "unbounded attack", "more steps")] == 3 * [
        "pass"
    ]
    assert (found["accuracy falls with eps"].value, found["accuracy falls with eps"].n) == (0, 16)
    assert (found["unbounded attack"].value, found["more steps"].n) == (0, SURVIVORS[8])


def test_quick_leaves_all_this_out_and_says_so(grey):
    (card,) = grey.run(eps="8/255", gate="quick")

    for name in ("more steps", "accuracy falls with eps", "unbounded attack"):
        check = checks(card)[name]
        assert (check.status, check.n) == ("skipped", 0)
        assert check.meaning.startswith("Not part of --gate quick")


FALLS = "undefended victim falls"


def test_quick_looks_without_bounds_where_an_attack_hardly_moves_the_victim(grey):
    # At 0.3/255 every image holds: the smallest margin is half a level.
    (card,) = grey.run(eps="0.3/255", gate="quick", gate_cost=1000)
    check = checks(card)[FALLS]

    assert card.robust.correct == 40
    assert (card.gate.verdict, check.status) == ("VALID", "pass")
    assert (check.figures["swept"], check.figures["unbounded"]) == (4, 0)
    assert "That steps works is seen without bounds, where 4 of 4 images fall to it." in check.meaning


def test_quick_does_not_look_where_the_attack_was_seen_to_work(grey):
    (card,) = grey.run(eps="8/255", gate="quick", gate_cost=1000)

    assert checks(card)[FALLS].status == "pass"
    assert "swept" not in checks(card)[FALLS].figures


@pytest.mark.parametrize("refuses", [False, True])
def test_quick_takes_no_attack_for_one_that_works_which_fails_without_bounds(grey, refuses):
    def no(model, images, labels, task):
        raise ValueError("no radius of mine")

    card = run(grey, up_to(0.9, *([no] if refuses else [])), "limited", eps="0.3/255", gate="quick")
    check = checks(card)[FALLS]

    assert check.status == "suspect"
    assert "limited hardly moves the undefended victim (clean 90.9%, attacked 90.9%)" in check.meaning


def test_quick_accuses_an_attack_that_misses_what_the_gate_wins(grey):
    card = run(grey, attack("stays", lambda model, images, labels, task: images), "stays", gate="quick")

    assert checks(card)[FALLS].status == "suspect"


@pytest.mark.parametrize(("untried", "status"), [(1, "skipped"), (0, "suspect")])
def test_what_was_not_tried_for_lack_of_passes_accuses_nobody(untried, status):
    figures = {"control": 40, "lost": 1, "gained": 0, "others": 0, "of": 40, "untried": untried}
    check = falls_check("pgd", figures)

    assert (check.status, undefended_falls(figures).status) == (status, status)
    assert check.meaning.startswith("Not enough passes to tell: 1 of 40" if untried else "pgd hardly moves")


def test_the_l2_ball_is_swept_too(grey):
    # 32/255 in L2 over 16 pixels are 8 levels each; the whole box is sqrt(16). There is no blinding radius.
    (card,) = grey.run(eps="32/255", norm="L2", gate_cost=1000)

    assert card.robust.correct == SURVIVORS[8]
    assert not accused(card)
    assert checks(card)["unbounded attack"].n == 16
