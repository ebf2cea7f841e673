"""L0: pixels are counted, all channels as one; projection and best pixels against a search of all subsets."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from robench import SpecError, ThreatModel, parse_eps
from robench.contracts.l0_ball import highest_in_l0, nearest_in_l0, pixels_changed, sparse_directions


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def subsets(count, among):
    for pixels in combinations(range(among), count):
        mask = torch.zeros(among, dtype=torch.bool)
        mask[list(pixels)] = True
        yield mask


def test_pixels_are_counted_and_not_channels():
    images = torch.full((2, 3, 2, 2), 0.5)
    moved = images.clone()
    moved[0, :, 0, 1] = 0.1  # one pixel in three channels
    moved[0, 2, 1, 1] += 1e-7
    moved[1, 1, 0, 0] = float("nan")

    assert pixels_changed(images, moved).tolist() == [2.0, 1.0]
    assert ThreatModel("L0", 2).distance(images, moved).tolist() == [2.0, 1.0]


def test_projection_is_the_nearest_of_all_choices_of_pixels():
    images, wanted = drawn(5, 3, 2, 3), drawn(5, 3, 2, 3, seed=1) * 2 - 0.5
    for count in (1, 2, 4):
        found = nearest_in_l0(images, wanted, count)
        assert bool((pixels_changed(images, found) <= count).all())
        assert bool(((found >= 0) & (found <= 1)).all())
        for place in range(5):
            gaps = []
            for mask in subsets(count, 6):
                other = torch.where(mask.view(1, 2, 3), wanted[place].clamp(0, 1), images[place])
                gaps.append(float((other - wanted[place].clamp(0, 1)).square().sum()))
            own = float((found[place] - wanted[place].clamp(0, 1)).square().sum())
            assert own == pytest.approx(min(gaps), abs=1e-6)


def test_what_lies_inside_stays_bit_by_bit():
    images = drawn(3, 3, 4, 4)
    moved = images.clone()
    moved[:, :, 1, 2] = drawn(3, 3, seed=2)

    assert torch.equal(ThreatModel("L0", 1).project(images, moved), moved)
    assert torch.equal(ThreatModel("L0", 0).project(images, moved), images)


def test_the_best_pixels_of_a_linear_function_are_those_of_all_choices_and_colours():
    images, slope = drawn(4, 2, 2, 2), drawn(4, 2, 2, 2, seed=3) - 0.5
    for count in (1, 2, 3):
        found = highest_in_l0(images, slope, count)
        assert torch.equal(ThreatModel("L0", count).one_step(images, slope), found)
        for place in range(4):
            best = max(
                float((slope[place] * torch.where(mask.view(1, 2, 2), colours, images[place])).sum())
                for mask in subsets(count, 4)
                for colours in torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 8).view(-1, 2, 2, 2)
            )
            assert float((slope[place] * found[place]).sum()) == pytest.approx(best, abs=1e-6)


def test_a_flat_gradient_moves_nothing_and_a_direction_has_as_many_pixels():
    images = drawn(2, 3, 4, 4)
    assert torch.equal(highest_in_l0(images, torch.zeros_like(images), 3), images)
    way = sparse_directions(drawn(2, 3, 4, 4, seed=4) - 0.5, 3)
    assert pixels_changed(torch.zeros_like(way), way).tolist() == [3.0, 3.0]
    random = ThreatModel("L0", 5).from_uniform(images, drawn(2, 3, 4, 4, seed=5) * 2 - 1)
    assert pixels_changed(images, random).tolist() == [5.0, 5.0]


def test_eps_is_a_whole_number_of_pixels():
    assert parse_eps("24", "L0") == 24.0
    with pytest.raises(SpecError, match=r"eps 8/255 is no number of pixels, which L0 counts; give a whole one"):
        parse_eps("8/255", "L0")
