"""The patch: one square of a side; projection, best square and drawn places against a search of all squares."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from robench import SpecError, ThreatModel, parse_eps
from robench.contracts.patch_square import best_square, drawn_square, side_changed, square_at, square_totals
from robench.contracts.threat_model import format_eps


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def squares(side, height, width):
    """Yield every place of a square that fits, as a mask."""
    tall, wide = min(side, height), min(side, width)
    for top in range(height - tall + 1):
        for left in range(width - wide + 1):
            mask = torch.zeros(height, width, dtype=torch.bool)
            mask[top : top + tall, left : left + wide] = True
            yield mask


def test_the_side_is_that_of_the_least_square_that_holds_every_change():
    images = torch.full((7, 3, 5, 6), 0.5)
    moved = images.clone()
    moved[1, 2, 4, 5] += 1e-7
    moved[2, 0, 1, 1] = moved[2, 1, 1, 4] = 0.0  # one row, four columns apart
    moved[3, :, 0, 0] = moved[3, :, 4, 5] = 1.0
    moved[4, 1, 2, 2] = float("nan")
    moved[5, 0, :, 3] = 0.0
    moved[6, 0, 1:3, 2:4] = 0.0

    assert side_changed(images, moved).tolist() == [0.0, 1.0, 4.0, 6.0, 1.0, 5.0, 2.0]
    assert torch.equal(ThreatModel("patch", 2).distance(images, moved), side_changed(images, moved))


@pytest.mark.parametrize("side", [1, 2, 3, 4, 9])
def test_projection_is_the_nearest_of_all_squares(side):
    images, wanted = drawn(6, 3, 3, 4), drawn(6, 3, 3, 4, seed=1) * 2 - 0.5
    found = ThreatModel("patch", side).project(images, wanted)

    assert bool((side_changed(images, found) <= side).all())
    inside = wanted.clamp(0, 1)
    for place in range(6):
        gaps = [
            float((torch.where(mask, inside[place], images[place]) - inside[place]).square().sum())
            for mask in squares(side, 3, 4)
        ]
        assert float((found[place] - inside[place]).square().sum()) == pytest.approx(min(gaps), abs=1e-6)


def test_what_lies_in_a_square_stays_bit_by_bit_however_little_it_moved():
    images = drawn(3, 3, 8, 8)
    moved = images.clone()
    moved[:, :, 2, 3] = drawn(3, 3, seed=2)
    moved[:, 0, 4, 5] = moved[:, 0, 4, 5].nextafter(torch.zeros(3))

    assert torch.equal(ThreatModel("patch", 3).project(images, moved), moved)
    assert bool((ThreatModel("patch", 2).project(images, moved) != moved).flatten(1).any(1).all())
    assert torch.equal(ThreatModel("patch", 0).project(images, moved), images)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_one_step_is_the_best_square_of_a_linear_function(side):
    images, slope = drawn(4, 2, 3, 4), drawn(4, 2, 3, 4, seed=3) - 0.5
    found = ThreatModel("patch", side).one_step(images, slope)

    gain = torch.maximum(slope * (0 - images), slope * (1 - images)).sum(1)
    for place in range(4):
        best = max(float(gain[place][mask].sum()) for mask in squares(side, 3, 4))
        assert float((slope[place] * (found[place] - images[place])).sum()) == pytest.approx(best, abs=1e-6)


def test_of_equal_squares_the_first_is_taken_and_zeros_sum_to_zero():
    values = torch.zeros(3, 6, 6)
    values[1, 4, 4] = 1.0
    values[2, 1:3, 2:4] = 0.1 + 0.2
    values[2, 3:5, 4:6] = 0.3

    tops, lefts = best_square(values.double(), 2)
    assert list(zip(tops.tolist(), lefts.tolist(), strict=True)) == [(0, 0), (3, 3), (1, 2)]
    assert int((square_totals(values, 2)[1] != 0).sum()) == 4
    assert not bool(square_at((tops, lefts), 0, values[:, None]).any())


def test_a_flat_gradient_moves_nothing_and_a_direction_has_one_square():
    images = drawn(2, 3, 6, 6)
    assert torch.equal(ThreatModel("patch", 3).one_step(images, torch.zeros_like(images)), images)
    way = ThreatModel("patch", 3).steepest(drawn(2, 3, 6, 6, seed=4) - 0.5)
    assert side_changed(torch.zeros_like(way), way).tolist() == [3.0, 3.0]
    assert int((way != 0).sum()) == 2 * 27


@pytest.mark.parametrize("signs", [False, True])
def test_random_squares_are_anywhere_alike(signs):
    unit = drawn(3600, 3, 6, 6, seed=5) * 2 - 1
    unit = unit.sign() if signs else unit
    images = drawn(3600, 3, 6, 6, seed=6)
    counted = Counter(zip(*(at.tolist() for at in drawn_square(unit, 4)), strict=True))

    assert len(counted) == 9
    assert min(counted.values()) > 320  # 400 each; five standard deviations are 94
    moved = ThreatModel("patch", 4).from_uniform(images, unit)
    assert bool((side_changed(images, moved) == 4).all())
    assert bool(((moved >= 0) & (moved <= 1)).all())


def test_eps_is_a_whole_number_and_written_with_its_unit():
    assert parse_eps("5", "patch") == 5.0
    assert str(ThreatModel("patch", 5)) == "patch 5 px white-box"
    assert format_eps(5.0) == "5"
    with pytest.raises(SpecError, match=r"eps 8/255 is no side of a patch in pixels; give a whole number, such as"):
        parse_eps("8/255", "patch")
