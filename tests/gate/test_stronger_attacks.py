"""The harness's own attacks on what an attack left standing: what they win is known by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ..grey import SURVIVORS, Greys, accused, attack, checks, corner, defense, row, victim


def reaching(share, **options):
    """Return an attack that goes that share of the way to the edge of the ball."""
    return attack("timid", lambda m, x, y, t: corner(m, x, y, t, share), **options)


def test_the_honest_twin_leaves_nothing_to_win(grey):
    (card,) = grey.run(eps="8/255", gate_cost=1000)
    names = ("one step <= many steps", "stronger attack", "queries <= gradients", "noise <= gradients", "another loss")

    assert not accused(card)
    for name in names:
        assert (checks(card)[name].status, checks(card)[name].value) == ("pass", 0)
        assert checks(card)[name].n == SURVIVORS[8]


@pytest.mark.parametrize(("share", "status"), [(3 / 8, "suspect"), (0, "invalid"), (7 / 8, "pass"), (6 / 8, "skipped")])
def test_the_harness_wins_exactly_what_a_timid_attack_left(grey, share, status):
    # Of 8 levels it takes 3 (10 images short of 44: 22.7 %), none (16: 36.4 %), 7 (2: 4.5 %), or 6 (4: 9.1 %), which
    # by chance alone are more than 8 % of 44 one time in two.
    (card,) = grey.run(reaching(share), attack="timid", eps="8/255", gate_cost=1000)
    check = checks(card)["stronger attack"]
    left = SURVIVORS[round(8 * share)]
    won = left - SURVIVORS[8]

    assert (check.status, check.value, check.n) == (status, pytest.approx(won / 44), left)
    if status == "skipped":
        assert check.meaning == (
            "Not enough images: 4 of 44 are more than 8%, but on so few that may be chance. About 2,804 would tell "
            "(--n)."
        )
    elif status != "pass":
        assert (
            f"Of {left} images still standing, {won} fall to 40 steps of the harness's own APGD (ce-scaled {won}, "
            f"margin {won})"
        ) in check.meaning


def test_single_steps_alone_are_weak_evidence_but_no_broken_attack(grey):
    (card,) = grey.run(reaching(1 / 8, iterative_=False), attack="timid", eps="8/255", gate_cost=1000)

    assert {check.status for check in card.gate.checks} == {"pass", "suspect", "skipped"}
    assert checks(card)["stronger attack"].status == "suspect"
    assert checks(card)["one step <= many steps"].status == "skipped"


class Margins(nn.Module):
    """Answer [min(s, 0), min(-s, 0), -0.01], s = 20 (mean - 0.5): the margin is flat from 0.13 levels on."""

    def forward(self, images):
        s = 20 * (images.flatten(1).mean(1) - 0.5)
        return torch.stack([s.clamp_max(0), (-s).clamp_max(0), torch.full_like(s, -0.01)], 1)


class Three(Greys):
    """Name a third class that never occurs."""

    name = "three"
    default = False

    def classes(self):
        return ("bright", "dark", "neither")


def test_a_loss_that_is_masked_is_told_from_one_that_is_not(grey):
    # Cross-entropy sees the losing class through the softmax; the margin only sees the constant third one.
    made = (("dataset", Three), victim("margins", Margins, 3), reaching(0.01))
    (card,) = grey.run(*made, dataset="three", victim="margins", attack="timid", eps="20/255", gate_cost=1000)
    check = checks(card)["another loss"]

    assert (check.status, check.n) == ("suspect", 40)
    assert check.value > 0.5
    assert "Of 40 images, 40 fall to the loss ce-scaled and only" in check.meaning


class Rounded(nn.Module):
    """Round to whole levels, which no gradient passes."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        return self.inner((images * 255).round() / 255)


def test_queries_and_noise_win_where_gradients_are_masked(grey):
    cards = grey.run(defense("masked", Rounded), defense="masked", eps="8/255", gate_cost=1000)
    card = row(cards, "masked")
    found = checks(card)
    won = 40 - SURVIVORS[8]

    assert card.robust.correct == 40
    assert (found["queries <= gradients"].status, found["queries <= gradients"].value) == (
        "invalid",
        pytest.approx(won / 44),
    )
    assert (
        f"{won} of 40 images survive the attacks on this model but fall to 150 queries of a random search (Square)"
        in (found["queries <= gradients"].meaning)
    )
    assert (found["measured slopes <= gradients"].status, found["measured slopes <= gradients"].value) == (
        "invalid",
        pytest.approx(won / 44),
    )
    assert (
        f"{won} of 40 images survive the attacks on this model but fall when the slopes of 8 x 8 tiles are measured"
        in (found["measured slopes <= gradients"].meaning)
    )
    # A random corner of 16 pixels moves the mean by 2 levels: it takes the nearest images, and not the far ones.
    assert found["noise <= gradients"].status in ("suspect", "invalid")
    assert 2 / 44 <= found["noise <= gradients"].value < won / 44
    assert "fall to 20 random draws from the ball" in found["noise <= gradients"].meaning


def test_a_row_of_queries_beside_gradients_is_no_single_step(grey):
    # Square takes two images more than a slightly timid gradient attack: that is Square's merit, not one step's.
    from robench_builtins.attacks.square import Square

    cards = grey.run(reaching(7 / 8), ("attack", Square), attack=["timid", "square[queries=300]"], eps="8/255")
    timid = next(card for card in cards if card.cell.attack.name == "timid")

    assert timid.robust.correct - SURVIVORS[8] == 2
    assert checks(timid)["one step <= many steps"].status == "pass"


class Rippled(nn.Module):
    """Add a ripple of one level's length to the brightness: zero at whole levels, large between them."""

    def forward(self, images):
        mean = images.flatten(1).mean(1)
        brightness = 10 * (mean - 0.5) + 0.3 * torch.sin(2 * torch.pi * 255 * mean)
        return torch.stack([brightness, -brightness], 1)


def test_a_rough_loss_is_suspect_and_a_smooth_one_is_not(grey):
    made = victim("rippled", Rippled), attack("knows", corner)
    (rough,) = grey.run(*made, victim="rippled", attack="knows", eps="8/255", gate_cost=1000)
    (smooth,) = grey.run(made[1], attack="knows", eps="8/255", gate_cost=1000)

    check = checks(rough)["stable loss"]
    assert (check.status, check.n) == ("suspect", 24)
    assert check.value > 0.1
    assert "Noise of 4/255 or less changes the margin by more than 10% on" in check.meaning
    # 4 levels uniform over 16 pixels: E |change| = 0.46 levels of margins of 8.5 and more.
    assert (checks(smooth)["stable loss"].status, checks(smooth)["stable loss"].value) == ("pass", 0)
    assert not accused(smooth)


def test_each_of_these_is_skipped_where_nothing_stands(grey):
    (card,) = grey.run(eps="20/255")

    assert card.robust.correct == 0
    for name in (
        "stronger attack",
        "measured slopes <= gradients",
        "queries <= gradients",
        "noise <= gradients",
        "one step <= many steps",
    ):
        check = checks(card)[name]
        assert (check.status, check.n, check.meaning) == ("skipped", 0, "No image was left standing to be tried.")
