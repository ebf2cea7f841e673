"""Random noise: where it lies, what it costs, and that the best of several draws is kept."""

from __future__ import annotations

import pytest
import torch

from robench import noise
from robench.attacks.losses import margin


def middle(lab, count=200):
    return torch.full((count, *lab.SHAPE), 0.5)


def drawn(lab, norm, distribution, eps=0.1):
    model, _, _ = lab.small_net()
    images = middle(lab)
    labels = torch.zeros(len(images), dtype=torch.long)
    return noise(model, images, labels, lab.task(norm, eps), distribution=distribution) - images


def test_uniform_noise_fills_the_cube(lab):
    delta = drawn(lab, "Linf", "uniform")
    assert delta.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.02)
    assert delta.abs().max().item() == pytest.approx(0.1, rel=0.01)


def test_gaussian_noise_is_normal_and_cut_off_at_eps(lab):
    delta = drawn(lab, "Linf", "gaussian")
    assert (delta.abs() > 0.0999).float().mean().item() == pytest.approx(0.3173, abs=0.01)  # beyond one sigma
    assert (delta.abs() < 0.05).float().mean().item() == pytest.approx(0.3829, abs=0.01)  # within half a sigma


def test_corners_are_corners(lab):
    delta = drawn(lab, "Linf", "corners")
    torch.testing.assert_close(delta.abs(), torch.full_like(delta, 0.1), atol=1e-6, rtol=0)
    assert (delta > 0).float().mean().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("distribution", ["uniform", "gaussian", "corners"])
def test_in_l2_the_whole_radius_is_used(lab, distribution):
    delta = drawn(lab, "L2", distribution)
    torch.testing.assert_close(delta.flatten(1).norm(dim=1), torch.full((200,), 0.1))


@pytest.mark.parametrize(("draws", "forwards"), [(1, 0), (2, 2), (7, 7)])
@pytest.mark.parametrize("stop_early", [True, False])
def test_what_it_costs(lab, draws, forwards, stop_early):
    model, images, labels = lab.small_net()
    task = lab.task("Linf", 1e-7, stop_early=stop_early)
    _, counts = lab.counted(model, lambda: noise(model, images[:5], labels[:5], task, draws=draws))
    assert counts == (5 * forwards, 0)


def test_the_best_draw_is_kept(lab):
    model, images, labels = lab.small_net()
    task = lab.task("Linf", 0.02)
    margins = [margin(model(noise(model, images, labels, task, draws=draws)), labels) for draws in (1, 3, 9)]
    assert (margins[1] >= margins[0] - 1e-6).all()
    assert (margins[2] >= margins[1] - 1e-6).all()
    assert (margins[2] > margins[0]).any()
