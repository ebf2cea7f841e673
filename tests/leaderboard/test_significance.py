"""Ties against statsmodels, scipy, numbers worked out by hand, and simulated boards with a known truth."""

from __future__ import annotations

import random
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from robench_leaderboard.statistics.significance import holm, mcnemar, shared_ranks


@pytest.mark.parametrize(
    ("only_first", "only_second", "by_hand"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (0, 5, 2 / 2**5),
        (6, 0, 2 / 2**6),
        (1, 8, 2 * (1 + 9) / 2**9),
        (2, 9, 2 * (1 + 11 + 55) / 2**11),
        (7, 7, 1.0),
    ],
)
def test_mcnemar_is_the_exact_binomial_tail(only_first: int, only_second: int, by_hand: float):
    assert mcnemar(only_first, only_second) == pytest.approx(by_hand, rel=1e-12)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_agrees_with_binomtest_and_is_symmetric(only_first: int, only_second: int):
    total = only_first + only_second
    expected = binomtest(only_first, total).pvalue if total else 1.0
    assert mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(only_second, only_first) == mcnemar(only_first, only_second)


def test_mcnemar_agrees_with_statsmodels():
    assert mcnemar(3, 14) == pytest.approx(statsmodels_mcnemar([[50, 3], [14, 33]], exact=True).pvalue)


def test_mcnemar_of_ten_thousand_images_is_finite():
    exact = 2 * sum(comb(5000, low) for low in range(2301)) / 2**5000
    assert mcnemar(2300, 2700) == pytest.approx(exact, rel=1e-9)


def test_holm_by_hand():
    # 4 hypotheses: .01 <= .05/4, .015 <= .05/3, .03 > .05/2 stops; .04 would have passed alone and must not.
    assert holm([0.03, 0.01, 0.04, 0.015]) == [False, True, False, True]


def test_holm_stops_at_the_first_failure():
    assert holm([0.02, 0.02, 0.02]) == [False, False, False]


def test_holm_of_nothing():
    assert holm([]) == []


@settings(max_examples=25)  # theirs takes a second for four
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels(p_values: list[float]):
    assert holm(p_values) == list(multipletests(p_values, 0.05, "holm")[0])


def test_ranks_on_small_counts_by_hand():
    # Six discordant images in one direction: p = 2/64 = .031; five: p = 2/32 = .0625.
    base = [False] * 10
    by_six = [place < 6 for place in range(10)]
    by_five = [place < 5 for place in range(10)]
    assert shared_ranks([by_six, base]) == [1, 2]
    assert shared_ranks([by_five, base]) == [1, 1]
    # With three rows there are three pairs and Holm asks the smallest p for .05/3 = .0167: no gap is left.
    assert shared_ranks([by_six, by_five, base]) == [1, 1, 1]


def test_a_new_group_is_led_by_its_first_row_and_skips_ranks():
    rows = [[place < correct for place in range(100)] for correct in (90, 88, 50, 48, 10)]
    assert shared_ranks(rows) == [1, 1, 3, 3, 5]


def test_rows_with_equal_accuracy_on_different_images_are_tied():
    assert shared_ranks([[True] * 50 + [False] * 50, [False] * 50 + [True] * 50]) == [1, 1]


@pytest.mark.parametrize("masks", [[], [[True, False]]])
def test_boards_too_small_to_compare(masks: list[list[bool]]):
    assert shared_ranks(masks) == [1] * len(masks)


def simulate(rates: list[float], n: int, draw: random.Random) -> list[int]:
    """Return the ranks of rows whose true accuracies are ``rates``, in that order, on images of varied difficulty."""
    difficulty = [draw.gauss(0, 0.25) for _ in range(n)]
    masks = [[draw.random() < rate + shift for shift in difficulty] for rate in rates]
    order = sorted(range(len(rates)), key=lambda row: -sum(masks[row]))
    ranks = dict(zip(order, shared_ranks([masks[row] for row in order]), strict=True))
    return [ranks[row] for row in range(len(rates))]


def test_rows_that_differ_by_noise_share_a_rank():
    """On 200 boards of 5 equal rows, a gap is declared on at most 5 %: family-wise, whichever rows lead."""
    draw = random.Random(7)
    wrong = sum(simulate([0.5] * 5, 300, draw) != [1] * 5 for _ in range(200))
    print(f"false gaps on {wrong} of 200 boards of equal rows")  # noqa: T201
    # The chance of more than 17 of 200 is 1 % at a true error rate of 5 %.
    assert wrong <= 17


def test_rows_that_differ_truly_do_not_share_a_rank():
    """15 points apart on 500 images: told apart on at least 95 % of 200 boards, and always in the right order."""
    draw = random.Random(8)
    found = [simulate([0.70, 0.55, 0.40], 500, draw) for _ in range(200)]
    assert sum(ranks == [1, 2, 3] for ranks in found) >= 190
    assert all(ranks == sorted(ranks) for ranks in found)


def test_mixed_boards_keep_equals_together_and_put_the_better_first():
    draw = random.Random(9)
    found = [simulate([0.70, 0.70, 0.45, 0.45], 500, draw) for _ in range(200)]
    assert sum(ranks == [1, 1, 3, 3] for ranks in found) >= 180
