"""The Square attack's patches pixel by pixel, its schedule and its costs."""

from __future__ import annotations

import pytest
import torch

from robench import ThreatModel, square
from robench.attacks.random_search import halved_share
from robench.attacks.square_patches import patches_for, two_pyramids

SHAPE = (4, 3, 16, 12)


def patches(norm, eps=0.1):
    return patches_for(SHAPE, ThreatModel(norm, eps))


def middle(count=4):
    return torch.full((count, *SHAPE[1:]), 0.5)


def draws(norm, count=4, seed=0):
    unit = torch.rand(count, patches(norm).width, generator=torch.Generator().manual_seed(seed))
    return unit * 2 - 1


@pytest.mark.parametrize(
    ("query", "share"),
    [(0, 0.8), (10, 0.8), (11, 0.4), (50, 0.4), (51, 0.2), (200, 0.2), (201, 0.1), (501, 0.05), (1001, 0.025),
     (2001, 0.0125), (4001, 0.00625), (6001, 0.003125), (8001, 0.0015625)],
)  # fmt: skip
def test_the_share_is_halved_where_the_paper_says(query, share):
    assert halved_share(query, 5000, 0.8, rescale=False) == pytest.approx(share)


def test_a_rescaled_schedule_reaches_its_end():
    assert halved_share(99, 100, 0.8, rescale=True) == pytest.approx(0.8 / 512)
    assert halved_share(5000, 10_000, 0.8, rescale=True) == halved_share(5000, 10_000, 0.8, rescale=False)


def test_the_side_of_a_window():
    # 16 x 12 = 192 pixels
    assert [patches("Linf").side(share) for share in (0.8, 0.25, 0.01, 0.0001)] == [12, 7, 1, 1]
    assert [patches("L2").side(share) for share in (0.25, 0.19, 0.0001)] == [7, 7, 3]


def test_linf_starts_from_vertical_stripes_of_full_height(lab):
    task = lab.task("Linf", 0.1)
    moved = patches("Linf").start(middle(), task, 0) - middle()
    torch.testing.assert_close(moved.abs(), torch.full(SHAPE, 0.1))
    assert torch.equal(moved, moved[:, :, :1].expand_as(moved))
    assert 0 < (moved[:, :, 0] > 0).float().mean() < 1
    assert not torch.equal(moved[0], moved[1])


def test_linf_moves_one_window_to_the_face_of_the_ball():
    here = middle() + 0.03
    given = draws("Linf")
    moved = patches("Linf").change(middle(), here, given, 5)
    changed = moved != here
    assert changed.flatten(1).sum(1).tolist() == [3 * 25] * 4
    for row in range(4):
        spots = changed[row, 0].nonzero()
        assert (spots.amax(0) - spots.amin(0)).tolist() == [4, 4]
        for channel in range(3):
            sign = 1.0 if given[row, 2 + channel] > 0 else -1.0
            window = (moved - middle())[row, channel][changed[row, channel]]
            torch.testing.assert_close(window, torch.full((25,), 0.1 * sign))


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize(("draw", "corner"), [(-1.0, (0, 0)), (1.0, (13, 9)), (0.0, (7, 5))])
def test_windows_reach_every_edge(norm, draw, corner):
    index = patches(norm).window(torch.full((1, 2), draw), 3)
    assert (index[2].flatten()[0].item(), index[3].flatten()[0].item()) == corner


def test_a_bump_is_two_opposite_pyramids_of_length_one():
    bump = two_pyramids(5, torch.device("cpu"))
    assert bump.norm().item() == pytest.approx(1.0)
    assert (bump[:2] > 0).all()
    assert (bump[2:] < 0).all()
    # Rows 2 to 4 are a pyramid whose top is in the middle: layers add 1, 1 + 1/4 and 1 + 1/4 + 1/9 from outside in.
    lower = bump[2:] / bump[3, 2]
    tail = [sum(1 / (k + 1) ** 2 for k in range(layer, 3)) for layer in (0, 1, 2)]
    assert lower[1].tolist() == pytest.approx(
        [tail[2] / tail[0], tail[1] / tail[0], 1.0, tail[1] / tail[0], tail[2] / tail[0]]
    )


def test_l2_starts_with_the_whole_budget(lab):
    task = lab.task("L2", 0.1)
    moved = patches("L2").start(middle(), task, 0) - middle()
    torch.testing.assert_close(moved.flatten(1).norm(dim=1), torch.full((4,), 0.1))
    assert not torch.equal(moved[0], moved[1])


def test_l2_moves_the_budget_of_one_window_into_another(lab):
    threat, task = ThreatModel("L2", 0.1), lab.task("L2", 0.1)
    start = patches("L2").start(middle(), task, 0)
    given = torch.tensor([[-1.0, -1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]]).repeat(4, 1)  # first corner, last corner
    moved = patches("L2").change(middle(), start, given, 3)
    torch.testing.assert_close(threat.distance(middle(), moved), torch.full((4,), 0.1))
    delta = moved - middle()
    assert not delta[:, :, 13:, 9:].any()
    assert (delta[:, :, :3, :3].square().sum((2, 3)) > start[:, :, :3, :3].sub(0.5).square().sum((2, 3))).all()
    outside = torch.ones(SHAPE, dtype=torch.bool)
    outside[:, :, :3, :3] = outside[:, :, 13:, 9:] = False
    torch.testing.assert_close(moved[outside], start[outside])


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize(
    ("given", "queries"), [({"queries": 12}, 12), ({"queries": 1}, 1), ({"queries": 5, "restarts": 3}, 15)]
)
@pytest.mark.parametrize("stop_early", [True, False])
def test_an_image_that_is_never_lost_costs_its_queries_and_no_gradient(lab, norm, given, queries, stop_early):
    model, images, labels = lab.small_net()
    task = lab.task(norm, 1e-7, stop_early=stop_early)
    _, counts = lab.counted(model, lambda: square(model, images[:5], labels[:5], task, **given))
    assert counts == (5 * queries, 0)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_more_queries_never_lower_the_margin(lab, norm):
    from robench.attacks.losses import margin

    model, images, labels = lab.small_net()
    task = lab.task(norm, 0.01 if norm == "Linf" else 0.1)
    margins = [margin(model(square(model, images, labels, task, queries=n)), labels) for n in (1, 20, 150)]
    assert (margins[1] >= margins[0] - 1e-6).all()
    assert (margins[2] >= margins[1] - 1e-6).all()
    assert margins[2].mean() > margins[0].mean()


def test_it_needs_no_gradient_at_all(lab):
    class Rounded(torch.nn.Module):
        """Answer through a staircase, whose slope is zero everywhere."""

        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, images):
            return self.network((images * 64).round() / 64)

    plain, images, labels = lab.small_net()
    model = lab.frozen(Rounded(plain.network), 10)
    right = lab.right(model, images, labels)
    task = lab.task("Linf", 0.03, stop_early=True)
    adversarial = square(model, images[right], labels[right], task, queries=150)
    assert lab.right(model, adversarial, labels[right]).float().mean() < 0.6


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (2, 3, 3, 9), (2, 3, 28, 28)])
@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_images_of_any_size(lab, shape, norm):
    model = lab.frozen(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(shape[1] * shape[2] * shape[3], 3)), 3)
    images = torch.rand(shape, generator=lab.generator(0))
    task = lab.task(norm, 0.1, 3).replace(shape=shape[1:])
    adversarial = square(model, images, torch.zeros(len(images), dtype=torch.long), task, queries=30)
    assert adversarial.isfinite().all()
    assert task.threat.distance(images, adversarial).max() <= 0.1 + 1e-6


def test_at_224_pixels_the_l2_length_is_still_eps(lab):
    images = 0.2 + 0.6 * torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    model = lab.frozen(torch.nn.Sequential(torch.nn.AvgPool2d(56), torch.nn.Flatten(), torch.nn.Linear(48, 10)), 10)
    task = lab.task("L2", 0.5)
    found = square(model, images, torch.zeros(2, dtype=torch.long), task, queries=5)
    assert (task.threat.distance(images, found) - 0.5).abs().max() < 5e-7
