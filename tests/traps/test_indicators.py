"""The indicators of attack failure, on a linear model and attacks of which each is known by hand to be due or not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robench import Attack, Classifier, Evaluated, Examples, ThreatModel
from robench_traps import indicators
from robench_traps.detectors.art import ARTGradients
from robench_traps.detectors.ioaf import AttackFailure

EPS = 0.2


class Best(Attack):
    """Step to the worst corner, which is known."""

    name = "best"

    def craft(self, model, images, labels, task):
        weight = model.network.weight.detach().sign().view(1, 3, 8, 8)
        out = weight * (2 * labels - 1).view(-1, 1, 1, 1)
        moved = (images + task.threat.eps * out).clamp(0, 1)
        model(moved)
        return moved


class Forgets(Best):
    """Find the corner and return the image."""

    name = "forgets"

    def craft(self, model, images, labels, task):
        super().craft(model, images, labels, task)
        return images


class Idle(Attack):
    """Ask about the image alone."""

    name = "idle"

    def craft(self, model, images, labels, task):
        model(images)
        return images


class Creeps(Best):
    """Walk a hundredth of the way to the corner, in twenty steps."""

    name = "creeps"

    def craft(self, model, images, labels, task):
        weight = model.network.weight.detach().sign().view(1, 3, 8, 8)
        out = weight * (2 * labels - 1).view(-1, 1, 1, 1)
        for step in range(20):
            moved = images + 1e-4 * step * out
            model(moved)
        return moved


@pytest.fixture
def shown(ground):
    """Return a function that shows an attack on the linear model; every image falls at its corner."""
    test = Examples.from_tensors(ground.images, ground.labels)
    task = ground.task.replace(threat_model=ThreatModel("Linf", EPS))

    def build(attack, model=None, target=None):
        model = model or ground.model
        return Evaluated(model, attack, target or model, test, task)

    return build


def test_a_sound_attack_raises_nothing(shown, ground):
    assert bool((ground.model(ground.images + EPS * ground.out).argmax(1) != ground.labels).all())
    values = indicators.indicators(shown(Best()), 10)

    assert [values[place] for place in (0, 2, 3, 4, 5)] == [0.0] * 5


def test_silent_success_is_an_image_that_was_asked_about_and_not_returned(shown):
    values = indicators.indicators(shown(Forgets()), 10)

    # Without bounds, too, the attack asked about an image that fools the model, so it did not fail for want of radius.
    assert (values[2], values[5]) == (1.0, 0.0)


def test_an_attack_that_stays_where_it_is_fails_without_bounds(shown):
    values = indicators.indicators(shown(Idle()), 10)

    assert (values[2], values[3], values[5]) == (0.0, 0.0, 1.0)
    assert "unconstrained attack failure" in AttackFailure().warnings(shown(Idle()))


def test_a_walk_that_is_still_under_way_is_incomplete(shown, ground):
    stand = ground.model(ground.images + 19e-4 * ground.out).argmax(1) == ground.labels

    assert 0 < int(stand.sum()) < 10
    assert indicators.indicators(shown(Creeps()), 10)[3] == pytest.approx(float(stand.float().mean()))


@pytest.mark.parametrize(
    ("path", "due"),
    [
        (torch.linspace(1, 0, 21), True),
        (torch.linspace(1, 0, 21).clamp_min(0.5), False),  # still for the last ten
        (torch.tensor([2.0, *[1.0] * 9, 0.94]), True),  # of 1.06, the last step is 0.057
        (torch.tensor([2.0, *[1.0] * 9, 0.96]), False),  # of 1.04, 0.038
        (torch.tensor([1.0, 0.0, *[0.5] * 12]), False),  # the running minimum is reached
        (torch.zeros(5), False),
        (torch.ones(1), False),
    ],
)
def test_incomplete_is_a_fall_of_a_twentieth_in_the_last_ten(path, due):
    assert indicators.incomplete(path) is due


def test_transfer_failure_is_another_answer_of_the_model_that_is_scored(shown, ground):
    class Other(nn.Module):
        def forward(self, images):
            return ground.network(images)[:, [1, 0]]

    other = Classifier(Other(), classes=2).eval()

    assert indicators.indicators(shown(Best(), model=other, target=ground.model), 10)[4] == 1.0


def test_gradients_are_unavailable_if_zero_or_absent(ground):
    class Flat(nn.Module):
        def __init__(self, rule):
            super().__init__()
            self.rule = rule

        def forward(self, images):
            return self.rule(ground.network(images))

    image = ground.images[:1]
    for rule, due in ((torch.detach, True), (lambda logits: 0 * logits, True), (torch.nn.Identity(), False)):
        assert indicators.unavailable(Classifier(Flat(rule), classes=2).eval(), image) is due


def test_unstable_is_the_mean_relative_change_of_the_loss():
    class Slope(nn.Module):
        def forward(self, images):
            # The cross-entropy of class 0 is x + log(1 + exp(-x)), hence x at large x, of the first pixel.
            lead = 1000 * images.flatten(1)[:, 0]
            return torch.stack([-lead, torch.zeros_like(lead)], 1)

    model, image, label = Classifier(Slope(), classes=2).eval(), torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
    torch.manual_seed(0)
    found = indicators.unstable(model, image, label)

    # E|u| over U(-4/255, 4/255) is 2/255, of a loss in proportion to 0.5; a hundred draws stray by 6 % (one sigma).
    assert found == pytest.approx(2 / 255 / 0.5, rel=0.25)


def test_the_whole_box_is_the_diagonal_of_the_norm():
    image = torch.zeros(1, 3, 2, 2)

    assert indicators.whole_box(ThreatModel("Linf", 0.1), image).eps == 1.0
    assert indicators.whole_box(ThreatModel("L2", 0.1), image).eps == pytest.approx(math.sqrt(12))


def test_art_names_images_without_a_gradient(shown, ground):
    class Flat(nn.Module):
        def forward(self, images):
            return 0 * ground.network(images)

    assert ARTGradients().warnings(shown(Best())) == ()
    flat = Classifier(Flat(), classes=2).eval()
    assert ARTGradients().warnings(shown(Best(), model=flat)) == ("zero gradient",)
