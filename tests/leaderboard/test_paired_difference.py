"""Paired differences against published intervals, an independent likelihood, and exact coverage."""

from __future__ import annotations

import math
from functools import lru_cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binomtest, multinomial, norm

from robench_leaderboard.statistics.paired_difference import Difference, tango

Z = norm.ppf(0.975)
counts = st.integers(1, 300).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda b: st.tuples(st.just(b), st.integers(0, n - b), st.just(n)))
)


def wald(only_first: int, only_second: int, n: int) -> tuple[float, float]:
    estimate = (only_first - only_second) / n
    half = Z * math.sqrt(max((only_first + only_second) / n - estimate**2, 0) / n)
    return estimate - half, estimate + half


def score_by_likelihood(delta: float, only_first: int, only_second: int, n: int) -> float:
    """Return the score statistic with the nuisance parameter found by maximising the likelihood numerically."""

    def negative(second: float) -> float:
        first = second + delta
        rest = 1 - first - second
        terms = ((only_first, first), (only_second, second), (n - only_first - only_second, rest))
        return -sum(count * math.log(max(share, 1e-300)) for count, share in terms if count)

    bounds = max(0.0, -delta) + 1e-12, (1 - delta) / 2 - 1e-12
    second = minimize_scalar(negative, bounds=bounds, method="bounded", options={"xatol": 1e-13}).x
    variance = n * (2 * second + delta - delta**2)
    return (only_first - only_second - n * delta) / math.sqrt(variance)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        # Airway responsiveness before and after transplantation (Bentur et al. 2009), as in Fagerland, Lydersen and
        # Laake, Statistical Analysis of Contingency Tables, chapter 8.
        ((1, 7, 21), (-0.517, -0.026)),
        # R's own example of PropCIs::scoreci.mp(b = 40, c = 20, n = 160), up to which group is first.
        ((40, 20, 160), (0.0309, 0.2181)),
    ],
)
def test_published_examples(table: tuple[int, int, int], expected: tuple[float, float]):
    assert tango(*table) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("table", [(3, 9, 60), (12, 12, 80), (1, 0, 30), (40, 5, 400), (30, 25, 60)])
def test_the_ends_are_where_the_likelihood_score_is_z(table: tuple[int, int, int]):
    estimate = (table[0] - table[1]) / table[2]
    low = brentq(lambda delta: score_by_likelihood(delta, *table) - Z, -0.98, estimate)
    high = brentq(lambda delta: score_by_likelihood(delta, *table) + Z, estimate, 0.98)
    assert tango(*table) == pytest.approx((low, high), abs=1e-4)


@given(counts)
def test_the_interval_holds_the_estimate_and_is_antisymmetric(table: tuple[int, int, int]):
    only_first, only_second, n = table
    low, high = tango(only_first, only_second, n)
    assert -1 <= low <= (only_first - only_second) / n <= high <= 1
    assert tango(only_second, only_first, n) == pytest.approx((-high, -low), abs=1e-9)


@given(counts)
def test_zero_is_outside_exactly_where_mcnemars_score_test_rejects(table: tuple[int, int, int]):
    only_first, only_second, n = table
    discordant = only_first + only_second
    statistic = (only_first - only_second) / math.sqrt(discordant) if discordant else 0.0
    low, high = tango(only_first, only_second, n)
    if abs(abs(statistic) - Z) > 1e-6:
        assert (low > 0 or high < 0) == (abs(statistic) > Z)


def test_more_images_narrow_it():
    widths = [high - low for low, high in (tango(n // 10, n // 20, n) for n in (20, 200, 2000, 20000))]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(2 * Z * math.sqrt((0.15 - 0.05**2) / 20000), rel=0.01)


@lru_cache(maxsize=4)
def intervals(n: int, of) -> dict[tuple[int, int], tuple[float, float]]:
    return {(b, c): of(b, c, n) for b in range(n + 1) for c in range(n + 1 - b)}


def coverage(n: int, first: float, second: float, of) -> float:
    """Return the exact chance that the interval holds the truth: the sum over every table that can occur."""
    chance = multinomial(n, [first, second, 1 - first - second])
    inside = [(b, c) for (b, c), (low, high) in intervals(n, of).items() if low <= first - second <= high]
    return float(chance.pmf([(b, c, n - b - c) for b, c in inside]).sum())


TRUTHS = [(0.01, 0.01), (0.02, 0.0), (0.03, 0.01), (0.05, 0.05), (0.1, 0.02), (0.2, 0.2), (0.3, 0.05), (0.5, 0.1)]


def test_the_exact_coverage_stays_near_nominal_where_walds_does_not():
    found = {truth: (coverage(60, *truth, tango), coverage(60, *truth, wald)) for truth in TRUTHS}
    print({truth: tuple(round(value, 3) for value in pair) for truth, pair in found.items()})  # noqa: T201
    assert min(tango_s for tango_s, _ in found.values()) > 0.93
    assert sum(tango_s for tango_s, _ in found.values()) / len(found) == pytest.approx(0.955, abs=0.02)
    assert min(walds for _, walds in found.values()) < 0.75


def test_a_difference_counts_the_images_that_only_one_got_right():
    first = [True, True, True, False, False, True]
    second = [True, False, False, True, False, True]
    found = Difference.of(first, second)
    assert found == Difference(2, 1, 6)
    assert found.points == pytest.approx(100 / 6)
    assert found.interval == pytest.approx(tuple(100 * end for end in tango(2, 1, 6)))
    assert found.p_value == pytest.approx(binomtest(2, 3).pvalue)


def test_outcomes_on_other_numbers_of_images_are_not_paired():
    with pytest.raises(ValueError, match="argument 2"):
        Difference.of([True], [True, False])


def test_two_that_answer_alike_do_not_differ():
    found = Difference.of([True] * 50, [True] * 50)
    assert (found.points, found.p_value) == (0.0, 1.0)
    low, high = found.interval
    assert low == pytest.approx(-high)
    # As for one proportion of which nothing was seen: Wilson's upper end for 0 of 50, z^2 / (n + z^2).
    assert high == pytest.approx(100 * Z**2 / (50 + Z**2))


def test_images_that_are_right_in_some_draws_count_by_their_share():
    found = Difference.of([0.5, 1.0, 0.0, 0.25], [1.0, 0.75, 0.0, 0.0])

    assert (found.only_first, found.only_second, found.n) == (0.5, 0.5, 4)
    assert found.points == 0
    low, high = found.interval
    assert low < 0 < high


def test_shares_of_zero_and_one_are_counts():
    assert Difference.of([1.0, 0.0, 1.0], [0.0, 0.0, 1.0]) == Difference.of([True, False, True], [False, False, True])


def test_the_gain_of_a_randomized_row_is_the_difference_of_the_rates_that_are_shown(make_card):
    import msgspec

    from robench_leaderboard import boards

    def drawn(outcome, hits):
        return msgspec.structs.replace(outcome, hits=hits, draws=10)

    none = make_card([True] * 50 + [False] * 50, [True] * 100)
    card = make_card([True] * 40 + [False] * 60, [True] * 100, defense="noise")
    # Right in 6 of 10 draws on 40 images, in 4 of 10 on 60: the majority says 40 %, the mean 48 %.
    card = msgspec.structs.replace(
        card, robust=drawn(card.robust, [6] * 40 + [4] * 60), clean=drawn(card.clean, [9] * 100)
    )
    (board,) = boards([none, card])
    row = next(row for row in board.rows if row.defense == "noise")

    assert row.headline.rate == pytest.approx(0.48)
    assert row.gain == pytest.approx(-2.0)
    assert row.tax == pytest.approx(10.0)
