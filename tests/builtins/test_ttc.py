"""TTC: its forward written out, what an attacker's gradient sees of it, and what that is worth."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from robench import SpecError, Task, ThreatModel
from robench.contracts.adaptive import Expected
from robench.evidence.meter import Meter
from robench.runtime.inference import freeze
from robench_builtins.attacks.pgd import PGD
from robench_builtins.datasets.digits import Digits
from robench_builtins.defenses.shared.counterattack import soft_sign
from robench_builtins.defenses.ttc import TTC
from robench_builtins.models.tiny_clip import TinyClip

EPS, ALPHA = 4 / 255, 1 / 255


@pytest.fixture
def images():
    drawn = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    drawn[0, :, :4], drawn[1, :, 4:] = 0.0, 1.0
    return drawn


def seeded(model, images, seed=3):
    torch.manual_seed(seed)
    return model(images)


def by_hand(victim, images, *, steps=2, beta=2.0, threshold=0.2, seed=3):
    """Write the method out, one image at a time, from the same draws."""
    torch.manual_seed(seed)
    noise = torch.rand(images.shape) * 2 - 1
    answers, stable = [], []
    for x, u in zip(images.split(1), noise.split(1), strict=True):
        original = victim.features(x).detach()
        delta = (x + EPS * u).clamp(0, 1) - x
        deltas = [delta]
        tau = (victim.features(x + delta) - original).norm() / original.norm()
        for _ in range(steps):
            moving = delta.clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad((victim.features(x + moving) - original).square().sum(), moving)
            delta = (delta + ALPHA * gradient.sign()).clamp(-EPS, EPS)
            delta = (x + delta).clamp(0, 1) - x
            deltas.append(delta)
        powers = [math.exp(beta * step) for step in range(steps + 1)]
        summed = sum(power / sum(powers) * delta for power, delta in zip(powers, deltas, strict=True))
        stable.append(bool(tau < threshold))
        answers.append(victim(x + (summed if stable[-1] else deltas[0])).detach())
    return torch.cat(answers), stable


@pytest.mark.parametrize(
    ("parameters", "all_stable"),
    [({}, None), ({"threshold": 0.0}, False), ({"threshold": 1e9}, True), ({"threshold": 1e9, "steps": 4}, True),
     ({"threshold": 1e9, "beta": 0.0}, True)],
)  # fmt: skip
def test_the_forward_is_the_method_written_out(small_clip, task, images, parameters, all_stable):
    victim = freeze(small_clip(), "cpu")
    defended = TTC(**parameters).wrap(copy.deepcopy(victim), task)
    expected, stable = by_hand(victim, images, **parameters)
    with torch.no_grad():
        torch.testing.assert_close(seeded(defended, images), expected, rtol=1e-4, atol=1e-4)
    if all_stable is not None:
        assert set(stable) == {all_stable}


def test_countered_images_stay_in_ball_and_box(small_clip, task, images):
    defended = TTC(threshold=1e9, steps=9).wrap(freeze(small_clip(), "cpu"), task)
    countered = defended.counter(images.requires_grad_(True), tracked=False).detach()
    assert countered.min() >= 0
    assert countered.max() <= 1
    distance = ThreatModel("Linf").distance(images.detach(), countered)
    assert distance.max().item() <= EPS + 1e-6
    assert distance.min().item() > EPS / 2


def test_without_a_radius_nothing_is_countered(small_clip, task, images):
    victim = freeze(small_clip(), "cpu")
    defended = TTC(eps=0.0).wrap(copy.deepcopy(victim), task)
    with torch.no_grad():
        torch.testing.assert_close(defended(images), victim(images))


def test_answers_are_drawn_from_the_global_generator(small_clip, task, images):
    defended = TTC().wrap(freeze(small_clip(), "cpu"), task)
    with torch.no_grad():
        assert torch.equal(seeded(defended, images), seeded(defended, images))
        assert not torch.equal(seeded(defended, images), seeded(defended, images, seed=4))
    assert TTC.randomized


def test_it_costs_the_steps_and_three_forwards_more_than_none(small_clip, task, images):
    defended = TTC(steps=2).wrap(freeze(small_clip(), "cpu"), task)
    meter = Meter(device="cpu")
    with torch.no_grad(), meter.counting(defended.network):
        defended(images)
    assert (meter.forwards, meter.backwards) == (6 * (1 + 2 + 1), 6 * 2)


def test_nothing_is_trained_and_no_gradient_stays(small_clip, task, images):
    defended = TTC().wrap(freeze(small_clip(), "cpu"), task)
    assert not any(parameter.requires_grad for parameter in defended.parameters())
    logits = defended(images.requires_grad_(True))
    logits.sum().backward()
    assert all(parameter.grad is None for parameter in defended.parameters())
    with torch.no_grad():
        assert not defended(images).requires_grad


# What an attacker's gradient sees


def test_soft_sign_is_the_sign_with_the_slope_of_tanh():
    gradient = torch.tensor([[[[3.0, -1.0, 0.0, 2.0]]]], dtype=torch.float64, requires_grad=True)
    soft = soft_sign(gradient)
    assert torch.equal(soft.detach(), gradient.sign())
    (slope,) = torch.autograd.grad(soft.sum(), gradient)
    scale = 1.5  # the mean of 3, 1, 0, 2
    torch.testing.assert_close(slope, (1 - torch.tanh(gradient.detach() / scale) ** 2) / scale)
    assert soft_sign(torch.zeros(1, 1, 2, 2)).abs().max() == 0


def test_a_gradient_changes_no_answer(small_clip, task, images):
    defended = TTC(threshold=1e9).wrap(freeze(small_clip(), "cpu"), task)
    with torch.no_grad():
        plain = seeded(defended, images)
    torch.testing.assert_close(seeded(defended, images.clone().requires_grad_(True)), plain, rtol=1e-4, atol=1e-4)


def test_the_gradient_passes_through_the_counterattack(small_clip, task, images):
    victim = freeze(small_clip(), "cpu")
    defended = TTC(threshold=1e9).wrap(copy.deepcopy(victim), task)
    watched = images.clone().requires_grad_(True)
    torch.manual_seed(3)
    countered = defended.counter(watched, tracked=True)
    (through,) = torch.autograd.grad(victim(countered)[:, 0].sum(), watched)
    still = countered.detach().requires_grad_(True)
    (constant,) = torch.autograd.grad(victim(still)[:, 0].sum(), still)
    assert torch.isfinite(through).all()
    angle = torch.nn.functional.cosine_similarity(through.flatten(1), constant.flatten(1))
    assert angle.min() < 0.9  # a constant d would give the same gradient


def accuracy(model, images, labels):
    torch.manual_seed(9)
    with torch.no_grad():
        return sum((model(images).argmax(1) == labels).float().mean().item() for _ in range(4)) / 4


def test_an_attacker_who_knows_it_leaves_less_than_one_who_does_not():
    digits = Digits()
    task = Task(classes=digits.classes(), templates=digits.templates, shape=(3, 32, 32))
    victim = freeze(TinyClip().load(task), "cpu")
    defended = freeze(TTC().wrap(copy.deepcopy(victim), task), "cpu")
    batch = next(digits.load("val").batches(24))
    attacked = task.replace(threat_model=ThreatModel("Linf", 6 / 255), stop_early=True, indices=batch.indices)
    torch.manual_seed(0)
    blind = PGD(steps=10).craft(victim, batch.images, batch.labels, attacked)
    knowing = PGD(steps=10).craft(Expected(defended, 2), batch.images, batch.labels, attacked)
    clean, transferred = (accuracy(defended, images, batch.labels) for images in (batch.images, blind))
    adaptive = accuracy(defended, knowing, batch.labels)
    assert clean > 0.9
    assert adaptive < transferred - 0.1


def test_a_victim_that_is_no_clip_is_refused(plain, task):
    with pytest.raises(SpecError) as error:
        TTC().wrap(plain, task)
    assert str(error.value) == (
        "ttc moves the image features of a CLIP, and this victim is none; "
        "choose a zero-shot victim, such as tiny-clip, or the defense 'none'."
    )


def test_published_defaults_and_recipe():
    assert (TTC().eps, TTC().steps, TTC().step_size, TTC().threshold, TTC().beta) == (EPS, 2, ALPHA, 0.2, 2.0)
    assert TTC().recipe()["defense"] == "ttc"
    assert TTC().recipe() != TTC(steps=3).recipe()
