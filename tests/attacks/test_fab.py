"""FAB: its projection against linear and quadratic programs, its distances against exact ones, its costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from robench import fab
from robench.attacks.hyperplane import shortest_to_hyperplane

DIMENSIONS = 12


def cases(count=40, seed=0):
    """Return points of the box, normals with some zeros, and offsets from easy to out of reach."""
    draw = torch.Generator().manual_seed(seed)
    points = torch.rand(count, DIMENSIONS, generator=draw)
    points[:5] = points[:5].round()  # corners
    normals = torch.randn(count, DIMENSIONS, generator=draw)
    normals[torch.rand(count, DIMENSIONS, generator=draw) < 0.2] = 0.0
    offsets = torch.randn(count, generator=draw) * torch.linspace(0.01, 4.0, count)
    return points, normals, offsets


def reach(points, normals, offsets):
    """Return (N,) bool: whether some point of the box lies on the hyperplane."""
    down = torch.where(normals * offsets.sign()[:, None] > 0, points, 1 - points)
    return (normals.abs() * down).sum(1) >= offsets.abs()


def least_linf(point, normal, offset):
    """Return the least radius, by linear programming over (d, r)."""
    size = len(point)
    sides = np.block([[np.eye(size), -np.ones((size, 1))], [-np.eye(size), -np.ones((size, 1))]])
    found = linprog(
        np.r_[np.zeros(size), 1.0], A_ub=sides, b_ub=np.zeros(2 * size), A_eq=[np.r_[normal, 0.0]], b_eq=[-offset],
        bounds=[*zip(-point, 1 - point, strict=True), (0, None)],
    )  # fmt: skip
    return found.fun


def least_l2(point, normal, offset):
    """Return the least length, by sequential quadratic programming."""
    found = minimize(
        lambda d: d @ d, np.zeros(len(point)), jac=lambda d: 2 * d, method="SLSQP",
        bounds=[*zip(-point, 1 - point, strict=True)], options={"ftol": 1e-14, "maxiter": 500},
        constraints={"type": "eq", "fun": lambda d: normal @ d + offset, "jac": lambda d: normal},
    )  # fmt: skip
    assert found.success
    return np.sqrt(found.fun)


@pytest.mark.parametrize(("norm", "least"), [("Linf", least_linf), ("L2", least_l2)])
def test_the_way_to_the_hyperplane_is_the_shortest_there_is(norm, least):
    points, normals, offsets = cases()
    ways = shortest_to_hyperplane(points, normals, offsets, norm)
    possible = reach(points, normals, offsets)
    assert 10 < possible.sum() < len(points)

    assert (points + ways).min() >= -1e-6
    assert (points + ways).max() <= 1 + 1e-6
    for row in possible.nonzero().flatten().tolist():
        assert (normals[row] @ ways[row]).item() == pytest.approx(-offsets[row].item(), abs=1e-5)
        length = ways[row].abs().max() if norm == "Linf" else ways[row].norm()
        given = (values[row].double().numpy() for values in (points, normals))
        assert length.item() == pytest.approx(least(*given, offsets[row].item()), abs=1e-4)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_a_hyperplane_out_of_reach_leads_to_the_nearest_corner(norm):
    points, normals, offsets = cases()
    out = ~reach(points, normals, offsets)
    ways = shortest_to_hyperplane(points, normals, offsets, norm)[out]
    turned = normals[out] * offsets[out].sign()[:, None]
    corners = torch.where(turned > 0, 0.0, torch.where(turned < 0, 1.0, points[out]))
    torch.testing.assert_close(points[out] + ways, corners, atol=1e-6, rtol=0)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("scale", [1e-25, 1e-6, 1e4])
def test_the_scale_of_the_logits_does_not_matter(norm, scale):
    points, normals, offsets = cases()
    plain = shortest_to_hyperplane(points, normals, offsets, norm)
    torch.testing.assert_close(
        shortest_to_hyperplane(points, normals * scale, offsets * scale, norm), plain, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_no_normal_and_no_offset_make_no_nan(norm):
    points, normals, offsets = cases(4)
    assert not shortest_to_hyperplane(points, normals * 0, offsets, norm).any()
    assert not shortest_to_hyperplane(points, normals, offsets * 0, norm).any()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_it_finds_the_exact_distance_of_a_linear_model(lab, norm):
    model, images, labels = lab.at_reach([0.3, 0.6, 0.9], 0.02, norm)
    adversarial = fab(model, images, labels, lab.task(norm, 0.02, 2), steps=20)
    found = lab.task(norm, 0.02, 2).threat.distance(images, adversarial)
    # A step overshoots by 5 %, and the one back keeps 90 %.
    torch.testing.assert_close(found, 0.02 * torch.tensor([0.3, 0.6, 0.9]), rtol=0.01, atol=0)


def test_the_first_error_may_lie_further_out_and_costs_less(lab):
    model, images, labels = lab.at_reach([0.3, 0.6, 0.9], 0.02, "Linf")
    task = lab.task("Linf", 0.02, 2, stop_early=True)
    adversarial, counts = lab.counted(model, lambda: fab(model, images, labels, task, steps=20))
    assert not lab.right(model, adversarial, labels).any()
    assert counts == (3 + 6, 3)  # the ranking, one step, its verdict


def test_an_error_outside_the_ball_comes_back_on_its_surface(lab):
    model, images, labels = lab.at_reach([1.5], 0.02, "Linf")
    task = lab.task("Linf", 0.02, 2)
    adversarial = fab(model, images, labels, task, steps=5)
    assert lab.right(model, adversarial, labels).all()
    assert task.threat.distance(images, adversarial).item() == pytest.approx(0.02, abs=1e-6)


def test_an_image_that_errs_unmoved_stays_there(lab):
    model, images, labels = lab.small_net()
    for stop_early in (True, False):
        task = lab.task(stop_early=stop_early)
        assert torch.equal(fab(model, images[:4], (labels[:4] + 1) % 10, task, steps=3), images[:4])


@pytest.mark.parametrize(
    ("given", "starts"),
    [({}, 9), ({"targets": 3}, 3), ({"targets": (5,)}, 1), ({"targets": 2, "restarts": 3}, 6)],
)
@pytest.mark.parametrize("stop_early", [True, False])
def test_an_image_that_is_never_lost_costs_exactly_this(lab, given, starts, stop_early):
    model, images, labels = lab.small_net()
    task = lab.task("Linf", 1e-7, stop_early=stop_early)
    _, counts = lab.counted(model, lambda: fab(model, images[:5], labels[:5], task, steps=4, **given))
    assert counts == (5 * (1 + 8 * starts), 5 * 4 * starts)


def test_classes_that_do_not_exist_are_no_targets(lab):
    model, images, labels = lab.small_net(classes=3)
    task = lab.task("Linf", 1e-7, 3)
    _, counts = lab.counted(model, lambda: fab(model, images[:5], labels[:5], task, steps=4))
    assert counts == (5 * 17, 5 * 8)
