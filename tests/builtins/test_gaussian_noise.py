"""Gaussian noise: its distribution, what it shares with noise, and that it asks nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from scipy import stats
from torch import nn

from robench import Classifier, Task, ThreatModel
from robench.evidence.meter import Meter
from robench_builtins.attacks.gaussian_noise import GaussianNoise
from robench_builtins.attacks.noise import Noise

SHAPE = (3, 8, 8)


def grey(count=200):
    return torch.full((count, *SHAPE), 0.5)


def task(eps, norm="Linf", **fields):
    return Task(classes=("a", "b"), shape=SHAPE, threat_model=ThreatModel(norm, eps), **fields)


def moved(attack, job, images=None):
    images = grey() if images is None else images
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), 2).eval().requires_grad_(False)
    meter = Meter()
    with meter.counting(model):
        found = attack.craft(model, images, torch.zeros(len(images), dtype=torch.long), job)
    assert (meter.forwards, meter.backwards) == (0, 0) == attack.passes()
    return found - images


def test_small_noise_is_normal_with_the_deviation_asked_for():
    delta = moved(GaussianNoise(std=0.02), task(0.4)).flatten()
    assert stats.kstest(delta.numpy() / 0.02, "norm").pvalue > 0.01
    assert delta.std().item() == pytest.approx(0.02, rel=0.01)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_without_a_deviation_it_is_noise_with_that_distribution(norm):
    job = task(0.1, norm, seed=3)
    assert torch.equal(moved(GaussianNoise(), job), moved(Noise(distribution="gaussian"), job))


def test_in_linf_a_deviation_of_eps_is_the_default():
    job = task(0.1, seed=3)
    torch.testing.assert_close(moved(GaussianNoise(std=0.1), job), moved(GaussianNoise(), job))


def test_the_ball_and_the_box_hold_what_is_larger():
    assert moved(GaussianNoise(std=0.1), task(0.05)).abs().max().item() == pytest.approx(0.05, abs=1e-6)
    length = moved(GaussianNoise(std=0.1), task(0.5, "L2")).flatten(1).norm(dim=1)
    torch.testing.assert_close(length, torch.full((200,), 0.5))  # 0.1 * sqrt(192) = 1.4 is shortened
    assert moved(GaussianNoise(std=0.001), task(0.5, "L2")).flatten(1).norm(dim=1).max() < 0.02
    white = torch.ones(4, *SHAPE)
    assert moved(GaussianNoise(std=0.1), task(0.5), white).max() <= 0


@pytest.mark.parametrize("attack", [GaussianNoise(), GaussianNoise(std=0.1)], ids=["ball", "given"])
def test_no_radius_is_the_identity_and_batches_do_not_matter(attack):
    assert torch.equal(moved(attack, task(0.0)), torch.zeros_like(grey()))
    whole = moved(attack, task(0.1))
    assert torch.equal(whole[5:9], moved(attack, task(0.1, indices=range(5, 9)), grey(4)))
    assert not torch.equal(whole, moved(attack, task(0.1, seed=1)))


def test_it_is_a_black_box_control():
    assert GaussianNoise.name == "gaussian-noise"
    assert GaussianNoise.queries_only
    assert not GaussianNoise().iterative
    assert GaussianNoise().parameters == {"std": None}


def test_listing_it_imports_no_torch():
    code = "import robench_builtins.attacks.gaussian_noise as m, sys; m.GaussianNoise().files()"
    command = [sys.executable, "-c", code + "; sys.exit('torch' in sys.modules)"]
    assert subprocess.run(command, check=False).returncode == 0
