"""What a defense declares exempts it from nothing: draws are held still, paths must lead somewhere, models stay one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import straight_through

from ..grey import attack, checks, corner, defense, row

KNOWS = attack("knows", corner)


class Led(nn.Module):
    """Round to whole levels, and let gradients through as they are or turned round."""

    def __init__(self, inner, sign):
        super().__init__()
        self.inner = inner
        self.round = straight_through(lambda images: (images * 255).round() / 255, lambda images: sign * images)

    def forward(self, images):
        return self.inner(self.round(images))


class Coarse(nn.Module):
    """Round to black and white: no grey but 127 and 128 comes near the border at a radius of half a level."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.round = straight_through(lambda images: images.round())

    def forward(self, images):
        return self.inner(self.round(images))


def test_nobody_is_led_astray_where_rounding_undoes_everything(grey):
    made = defense("made", Coarse, gradient_="straight-through")
    card = row(grey.run(KNOWS, made, attack="knows", defense="made", eps="0.4/255", gate_cost=1000), "made")
    check = checks(card)["straight-through leads"]

    assert (check.status, check.value) == ("pass", 0)
    assert check.n == 16


@pytest.mark.parametrize(("sign", "status", "astray"), [(1, "pass", 0), (-1, "invalid", 1)])
def test_a_declared_path_has_to_lead_lower_than_chance(grey, sign, status, astray):
    made = defense("made", lambda inner: Led(inner, sign), gradient_="straight-through")
    card = row(grey.run(KNOWS, made, attack="knows", defense="made", eps="8/255", gate_cost=1000), "made")
    check = checks(card)["straight-through leads"]

    assert (check.status, check.value, check.n) == (status, astray, 16)
    if astray:
        assert "On 16 of 16 images a step along the declared gradient lowers the margin no more than" in check.meaning


def test_without_a_declared_path_nothing_is_followed(grey):
    (card,) = grey.run(KNOWS, attack="knows", eps="8/255", gate="quick")

    assert checks(card)["straight-through leads"].status == "skipped"


class Noisy(nn.Module):
    """Add a little noise; with a share of the answer hidden from the gradient."""

    def __init__(self, inner, hidden):
        super().__init__()
        self.inner, self.hidden = inner, hidden

    def forward(self, images):
        noisy = images + 0.01 * torch.randn_like(images)
        seen = self.inner(noisy)
        return seen + self.hidden * self.inner(noisy.detach())


@pytest.mark.parametrize(("hidden", "status"), [(0, "pass"), (5, "invalid")])
def test_a_randomized_defense_is_held_to_its_gradient_with_its_draws_held_still(grey, hidden, status):
    made = defense("made", lambda inner: Noisy(inner, hidden), randomized_=True, draws_=3)
    card = row(grey.run(KNOWS, made, attack="knows", defense="made", eps="8/255", gate_cost=1), "made")
    check = checks(card)["gradients true"]

    assert check.status == status
    assert check.n >= 4


class Own(Noisy):
    """Draw from a generator that nobody else can hold still."""

    def __init__(self, inner):
        super().__init__(inner, 0)
        self.draws = torch.Generator().manual_seed(0)

    def forward(self, images):
        return self.inner(images + 0.01 * torch.randn(images.shape, generator=self.draws))


def test_draws_that_cannot_be_held_still_are_no_evidence(grey):
    made = defense("made", Own, randomized_=True, draws_=3)
    card = row(grey.run(KNOWS, made, attack="knows", defense="made", eps="8/255", gate_cost=1), "made")
    check = checks(card)["gradients true"]

    assert check.status == "skipped"
    assert check.meaning.endswith("or the defense draws from a generator of its own.")


class Turning(nn.Module):
    """Turn every answer round once forty images were differentiated."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.seen = inner, 0

    def forward(self, images):
        self.seen += len(images) * images.requires_grad
        return self.inner(images) * (1 if self.seen < 40 else -1)


def test_a_model_that_changes_when_it_is_attacked_is_two_models(grey):
    made = defense("made", Turning)
    card = row(grey.run(made, defense="made", eps="8/255"), "made")
    check = checks(card)["clean answers again"]

    assert (card.clean.correct, card.gate.verdict, check.status) == (40, "INVALID", "invalid")
    assert check.value == check.n
    assert "the model that was attacked is not the one whose clean accuracy is stated" in check.meaning


def asking(elsewhere):
    """Return an attack of fifty questions that may cost thousands; at eps = 0 it keeps to the images, or does not."""

    def craft(model, images, labels, task):
        with torch.no_grad():
            for _ in range(50):
                asked.append(task.threat.eps)
                model(images + elsewhere)
        return corner(model, images, labels, task)

    asked: list[float] = []
    return attack("asking", craft, passes_=(5000, 5000)), asked


@pytest.mark.parametrize(
    ("elsewhere", "status", "meaning"),
    [
        (0.0, "pass", "With eps = 0 it asked about nothing but the clean images, until its share of the gate's passes"),
        (0.01, "skipped", "Not told: it asked about other points than the images, and was stopped at its share of"),
    ],
)
def test_a_dear_attack_is_stopped_at_eps_zero_once_it_used_its_share(grey, elsewhere, status, meaning):
    made, asked = asking(elsewhere)
    (card,) = grey.run(made, attack="asking", eps="8/255", gate="quick")
    check = checks(card)["eps = 0"]

    # 0.15 * 0.35 * 0.12 of some 2,200 passes, all of them forwards.
    assert check.status == status
    assert check.meaning.startswith(meaning)
    assert 5 <= asked.count(0.0) <= 15
    assert checks(card)["step size"].status == "skipped"
