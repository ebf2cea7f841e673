"""AutoAttack's five warnings, on models for which each is known by hand to be due or not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import Classifier, Examples, Task, ThreatModel
from robench_traps import flags

EPS = 8 / 255
GRAD = torch.autograd.grad


class Rule(nn.Module):
    def __init__(self, rule):
        super().__init__()
        self.rule = rule
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        return self.rule(images, self.calls)


def model_of(rule, classes=4):
    return Classifier(Rule(rule), classes=classes).eval()


def means(images):
    """Return the mean brightness of the four quarters of the image, ten times."""
    return 10 * nn.functional.adaptive_avg_pool2d(images, 2).mean(1).flatten(1)


@pytest.fixture
def given():
    """Return 16 images of which one quarter is brighter by 0.2, and that quarter as the label."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(16) % 4
    images = 0.4 + 0.02 * torch.rand(16, 3, 8, 8, generator=generator)
    for row, label in enumerate(labels.tolist()):
        images[row, :, 4 * (label // 2) : 4 * (label // 2) + 4, 4 * (label % 2) : 4 * (label % 2) + 4] += 0.2
    task = Task(classes=tuple("abcd"), shape=(3, 8, 8), threat_model=ThreatModel("Linf", EPS), stop_early=True)
    return images, labels, task.replace(indices=range(16))


def test_a_plain_model_raises_nothing(given):
    images, labels, task = given

    assert flags.flags(model_of(lambda x, _: means(x)), Examples.from_tensors(images, labels), task) == ()


@pytest.mark.parametrize(("gap", "due"), [(0.0, False), (0.5e-4, False), (2e-4, True)])
def test_randomised_is_a_difference_of_normalised_logits(given, gap, due):
    images, labels, _ = given
    unit = torch.tensor([1.0, 0.0, 0.0, 0.0])
    # Orthogonal to a unit vector, a small step of length gap is (nearly) the distance of the normalised rows.
    model = model_of(lambda x, call: (unit + gap * (call % 2) * torch.tensor([0.0, 1, 0, 0])).expand(len(x), 4))

    assert flags.randomised(model, images, labels) is due


def test_randomised_is_a_difference_in_right_answers(given):
    images, labels, _ = given
    labels = torch.zeros_like(labels)
    near = torch.tensor([1.0, 1.0, 0.0, 0.0])
    nudge = torch.tensor([1e-5, -1e-5, 0.0, 0.0])
    model = model_of(lambda x, call: (near + nudge * (1 if call % 2 else -1)).expand(len(x), 4))

    assert flags.randomised(model, images, labels)


@pytest.mark.parametrize(
    ("rule", "due"),
    [
        (lambda x, _: means(x).softmax(1), True),
        (lambda x, _: means(x), False),
        (lambda x, _: means(x).softmax(1) * 1.001, False),
        (lambda x, _: means(x).softmax(1) + torch.tensor([0.1, -0.1, 0.0, 0.0]), False),
    ],
    ids=["softmax", "logits", "sum off by a thousandth", "below zero"],
)
def test_softmax_output(given, rule, due):
    assert flags.softmax_output(model_of(rule), given[0]) is due


def test_zero_gradient_is_seen_on_any_image_that_is_left(given):
    images, labels, task = given

    def rule(x, _):
        dark = torch.arange(len(x)) == 5
        return torch.where(dark[:, None], means(x).detach(), means(x))

    every = torch.ones(16, dtype=torch.bool)
    others = every.clone()
    others[5] = False
    assert flags.zero_gradient(model_of(rule), images, labels, every, task)
    assert not flags.zero_gradient(model_of(lambda x, _: means(x)), images, labels, every, task)
    assert not flags.zero_gradient(model_of(rule), images, labels, torch.zeros(16, dtype=torch.bool), task)


def test_zero_gradient_needs_the_third_logit(given):
    images, labels, task = given
    model = model_of(lambda x, _: means(x)[:, :2].detach(), classes=2)

    assert not flags.zero_gradient(model, images, labels % 2, torch.ones(16, dtype=torch.bool), task)


@pytest.mark.parametrize(
    "inside",
    [
        lambda x: torch.autograd.grad(means(x).sum(), x),
        lambda x: GRAD(means(x).sum(), x),
        lambda x: means(x).sum().backward(),
        lambda x: torch.autograd.backward(means(x).sum()),
    ],
    ids=["grad", "grad by an earlier name", "Tensor.backward", "backward"],
)
def test_dynamic_is_a_call_of_autograd_in_forward(given, inside):
    def rule(images, _):
        with torch.enable_grad():
            inside(images.detach().requires_grad_(True))
        return means(images)

    assert flags.dynamic(model_of(rule), given[0])


def test_enabling_gradients_alone_is_not_dynamic(given):
    def rule(images, _):
        with torch.enable_grad():
            return means(images)

    assert not flags.dynamic(model_of(rule), given[0])


def test_nothing_is_watched_any_more_after_an_error(given):
    def rule(images, _):
        raise ValueError("no answer")

    before = torch.autograd._engine_run_backward
    with pytest.raises(ValueError, match="no answer"):
        flags.dynamic(model_of(rule), given[0])
    assert torch.autograd._engine_run_backward is before


def test_square_wins_where_the_gradient_knows_one_pixel(given):
    images, labels, task = given
    task = task.replace(threat_model=ThreatModel("Linf", 48 / 255))

    def hidden(x, _):
        pixel = x[:, 0, 0, :1]
        return means(x).detach() + (pixel - pixel.detach()) * torch.tensor([1.0, 2.0, 3.0, 4.0])

    every = torch.ones(16, dtype=torch.bool)
    assert flags.square_wins(model_of(hidden), images, labels, every, task) > 0.5
    assert flags.square_wins(model_of(lambda x, _: means(x)), images, labels, every, task) == 0


def test_square_is_not_asked_where_another_warning_has_spoken(given, monkeypatch):
    images, labels, task = given
    asked = []
    monkeypatch.setattr(flags, "square_wins", lambda *words: asked.append(words) or 1.0)
    test = Examples.from_tensors(images, labels)

    assert flags.flags(model_of(lambda x, _: means(x).softmax(1)), test, task)[0] == "softmax output"
    assert not asked
    assert flags.flags(model_of(lambda x, _: means(x)), test, task) == ("square",)


def test_what_raises_is_not_overlooked(given):
    images, labels, task = given
    model = model_of(lambda x, _: means(x).detach())

    assert flags.flags(model, Examples.from_tensors(images, labels), task) == (flags.RAISES,)


def test_images_that_are_wrong_or_lost_see_no_dlr(given):
    images, labels, task = given
    wrong = labels.clone()
    wrong[:4] = (wrong[:4] + 1) % 4
    left = flags.first_round(model_of(lambda x, _: means(x)), images, wrong, task)

    assert left.tolist() == [False] * 4 + [True] * 12
    far = task.replace(threat_model=ThreatModel("Linf", 0.5))
    assert not bool(flags.first_round(model_of(lambda x, _: means(x)), images, labels, far).any())
