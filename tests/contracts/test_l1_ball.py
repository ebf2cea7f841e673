"""The L1 ball in the box against quadratic and linear programs, the closed form by sorting, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from robench import ThreatModel
from robench.contracts.l1_ball import highest_in_l1, nearest_in_l1, sparse_signs
from robench.contracts.threat_model import BALL_TOLERANCE


def drawn(count, size, seed=0, spread=0.5):
    """Return images with black and white pixels, and points around them, in float64."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, 1, size, generator=draw, dtype=torch.float64)
    images[images < 0.1], images[images > 0.9] = 0.0, 1.0
    return images, images + spread * torch.randn(images.shape, generator=draw, dtype=torch.float64)


def by_sorting(image, point, eps):
    """Return the nearest point of ball and box in closed form: the threshold at which the moves add up to eps.

    Between two of the places where a coordinate begins to move or is stopped by the box, their sum is linear.
    """
    way = point - image
    room = np.where(way > 0, 1 - image, image)

    def total(threshold):
        return np.minimum(np.maximum(np.abs(way) - threshold, 0), room).sum()

    if total(0.0) <= eps:
        threshold = 0.0
    else:
        places = np.sort(np.r_[0.0, np.abs(way), np.maximum(np.abs(way) - room, 0)])
        totals = np.array([total(place) for place in places])
        last = int((totals > eps).nonzero()[0].max())
        share = (totals[last] - eps) / (totals[last] - totals[last + 1])
        threshold = places[last] + share * (places[last + 1] - places[last])
    return image + np.sign(way) * np.minimum(np.maximum(np.abs(way) - threshold, 0), room)


@pytest.mark.parametrize("eps", [1e-3, 0.2, 1.0, 2.5, 100.0])
@pytest.mark.parametrize("spread", [0.01, 0.5, 20.0])
def test_the_projection_is_the_closed_form_by_sorting(eps, spread):
    images, points = drawn(30, 40, spread=spread)
    found = nearest_in_l1(images, points, eps, 0.0)
    for row in range(30):
        expected = by_sorting(images[row].flatten().numpy(), points[row].flatten().numpy(), eps)
        np.testing.assert_allclose(found[row].flatten().numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("eps", [0.3, 1.5])
def test_the_projection_is_what_a_quadratic_program_finds(eps):
    images, points = drawn(8, 6)
    found = nearest_in_l1(images, points, eps, 0.0)
    for row in range(8):
        image, point = (values[row].flatten().numpy() for values in (images, points))
        # z = image + up - down with up, down >= 0
        solved = minimize(
            lambda both, image=image, point=point: ((image + both[:6] - both[6:] - point) ** 2).sum(),
            np.zeros(12), method="SLSQP", options={"ftol": 1e-14, "maxiter": 1000},
            bounds=[*[(0, 1 - value) for value in image], *[(0, value) for value in image]],
            constraints={"type": "ineq", "fun": lambda both: eps - both.sum()},
        )  # fmt: skip
        assert solved.success
        gap = ((found[row].flatten().numpy() - point) ** 2).sum()
        assert gap == pytest.approx(solved.fun, abs=1e-6)


def test_it_ends_nearer_than_the_ball_and_then_the_box():
    """Of (1, 0.4) half is kept in the ball alone, but the first coordinate can only move by 0.1."""
    image, point = torch.tensor([[[[0.9, 0.5]]]]), torch.tensor([[[[1.9, 0.9]]]])
    found = ThreatModel("L1", 0.5).project(image, point)
    torch.testing.assert_close(found, torch.tensor([[[[1.0, 0.9]]]]))


@pytest.mark.parametrize("scale", [0.003, 0.05, 3.0])
def test_a_large_image_lands_in_the_ball_and_stays_where_it_landed(scale):
    """Each of 150,528 moves is rounded by up to 3e-8, together by 4e-3."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 224, 224), generator=draw) / 255
    threat = ThreatModel("L1", 12.0)
    found = threat.project(images, images + scale * torch.randn(images.shape, generator=draw))
    exact = (found.double() - images.double()).abs().sum((1, 2, 3))
    assert exact.max() <= 12 + BALL_TOLERANCE
    assert exact.min() > 12 - 1e-3
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(threat.project(images, found), found)


def test_the_projection_of_an_image_does_not_depend_on_its_batch():
    images, points = (values.float() for values in drawn(6, 300, spread=2.0))
    threat = ThreatModel("L1", 3.0)
    alone = [threat.project(images[[row]], points[[row]]) for row in range(6)]
    assert torch.equal(threat.project(images, points), torch.cat(alone))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_stays_visible(value):
    images, points = (values.float() for values in drawn(3, 5))
    points[1, 0, 0, 2] = value
    found = ThreatModel("L1", 0.5).project(images, points)
    assert found.isnan().flatten(1).any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("eps", [0.2, 1.7, 50.0])
def test_a_linear_function_is_highest_where_a_linear_program_says(eps):
    images, _ = drawn(10, 8)
    gradient = torch.randn(images.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gradient[:, :, :, 5] = 0.0
    found = highest_in_l1(images, gradient, eps)
    for row in range(10):
        image, slope = (values[row].flatten().numpy() for values in (images, gradient))
        solved = linprog(
            np.r_[-slope, slope], A_ub=np.ones((1, 16)), b_ub=[eps],
            bounds=[*[(0, 1 - value) for value in image], *[(0, value) for value in image]],
        )  # fmt: skip
        moved = found[row].flatten().numpy() - image
        assert slope @ moved == pytest.approx(-solved.fun, abs=1e-9)
        assert np.abs(moved).sum() <= eps + 1e-9
        assert moved[5] == 0
    assert found.min() >= 0
    assert found.max() <= 1


def test_sparse_signs_by_hand():
    gradient = torch.tensor([[3.0, -4.0, 0.0, 1.0], [0.0, 2.0, -2.0, 1.0], [0.0, 0.0, 0.0, 0.0]]).view(3, 1, 1, 4)
    third, half = 1 / 3, 0.5
    rows = [
        (1, [[0, -1, 0, 0], [0, half, -half, 0], [0, 0, 0, 0]]),  # equal slopes move together
        (2, [[half, -half, 0, 0], [0, half, -half, 0], [0, 0, 0, 0]]),
        (4, [[third, -third, 0, third], [0, third, -third, third], [0, 0, 0, 0]]),  # none moves without a slope
    ]
    for count, expected in rows:
        found = sparse_signs(gradient, count)
        torch.testing.assert_close(found.view(3, 4), torch.tensor(expected, dtype=torch.float32))
    found = sparse_signs(gradient, torch.tensor([2, 1, 3]))
    torch.testing.assert_close(found.view(3, 4)[0], torch.tensor([half, -half, 0, 0]))


def test_a_coordinate_that_would_leave_the_box_is_passed_over():
    gradient = torch.tensor([[3.0, -4.0, 2.0]]).view(1, 1, 1, 3)
    at = torch.tensor([[1.0, 0.0, 1.0]]).view(1, 1, 1, 3)
    assert not sparse_signs(gradient, 1, at).any()
    at[..., 0] = 0.5
    assert sparse_signs(gradient, 1, at).flatten().tolist() == [1, 0, 0]
