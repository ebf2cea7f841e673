"""Brackets of critical radii and what stands at each eps, worked out by hand for five images."""

from __future__ import annotations

import pytest

from robench.evidence.security_curve import INFINITE, SecurityCurve, Summary


@pytest.fixture
def curve():
    """Four images tried at 1, 2 and 4, a fifth that is wrong unattacked."""
    found = SecurityCurve([True, True, True, True, False])
    found.add(1.0, {0: True, 1: False, 2: True, 3: True, 4: False}, {1: 0.75})
    found.add(2.0, {0: True, 1: True, 2: False, 3: True, 4: False}, {2: 1.5})
    found.add(4.0, {0: True, 1: False, 2: False, 3: False, 4: False}, {1: 4.0, 2: 4.0, 3: 0.5})
    return found


def test_an_image_lies_between_the_largest_eps_that_held_and_the_smallest_that_fell(curve):
    # Image 3 fell at 4 to an error half a unit away: it stood at 1 and 2 for want of a better attack.
    assert [curve.fell(image) for image in range(5)] == [INFINITE, 1.0, 2.0, 4.0, 0.0]
    assert [curve.distance(image) for image in range(5)] == [INFINITE, 0.75, 1.5, 0.5, 0.0]
    assert [curve.upper(image) for image in range(5)] == [INFINITE, 0.75, 1.5, 0.5, 0.0]
    assert [curve.held(image) for image in range(5)] == [4.0, 0.0, 1.0, 0.0, 0.0]


def test_what_fell_once_stands_at_no_larger_eps_and_what_an_attack_missed_is_counted(curve):
    assert [curve.standing(eps) for eps in (0.4, 0.5, 1.0, 2.0, 4.0)] == [4, 3, 2, 1, 1]
    assert [curve.missed(eps) for eps in (1.0, 2.0, 4.0)] == [1, 2, 0]


def test_brackets_that_are_too_wide_are_halved_and_no_others(curve):
    # Image 2 lies in [1, 1.5] and fell at 2: 1.5 is known to fell it, so 1.25. Image 3 fell at 4: 2, 1 and 0.5 do.
    assert curve.wide(0.4) == {0.5: [1], 1.25: [2], 0.25: [3]}
    assert curve.wide(0.5) == {0.5: [1]}
    assert curve.wide(0.75) == {}


def test_a_try_in_between_moves_one_end(curve):
    curve.add(0.5, {1: True}, {})
    curve.add(1.25, {2: False}, {2: 1.2})

    assert (curve.held(1), curve.upper(1)) == (0.5, 0.75)
    assert (curve.held(2), curve.upper(2), curve.fell(2)) == (1.0, 1.2, 1.25)


def test_the_median_is_over_all_images_and_not_known_where_half_of_them_never_fell():
    assert Summary.of([0.0, 1.0, 5.0, INFINITE, 3.0]) == Summary(3.0, 2.25, 4)
    assert Summary.of([1.0, INFINITE]) == Summary(INFINITE, 1.0, 1)
    assert Summary.of([INFINITE]) == Summary(INFINITE, None, 0)


def test_a_certificate_at_a_radius_holds_at_all_smaller_ones_and_is_held_to_the_errors_that_are_known(curve):
    curve.proofs[1.0] = [True, False, False, True, False]
    curve.proofs[2.0] = [True, False, True, False, False]

    assert [curve.proved(image) for image in range(5)] == [2.0, 0.0, 2.0, 1.0, 0.0]
    assert [curve.certified(eps) for eps in (0.5, 1.0, 2.0, 4.0)] == [3, 3, 2, 0]
    # Image 2 has an error at 1.5 and image 3 one at 0.5: neither stands where it is said to.
    assert curve.disproved() == [2, 3]
