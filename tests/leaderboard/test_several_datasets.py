"""The mean over datasets by hand and its coverage by simulation; ranks by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from robench_leaderboard.statistics.several_datasets import mean_over_datasets, ranks_over_datasets
from robench_leaderboard.statistics.significance import holm, mcnemar


def mask(right: int, n: int = 100) -> list[bool]:
    return [place < right for place in range(n)]


def test_each_dataset_counts_alike():
    mean, low, high = mean_over_datasets([0.2, 0.8, 0.5], [10, 1000, 50])
    assert mean == pytest.approx(0.5)
    assert 0 <= low < mean < high <= 1


def test_the_interval_is_wilsons_at_the_images_that_have_the_variance_of_the_mean():
    rates, counts = [0.4, 0.5, 0.6, 0.7], [10**6] * 4
    variance = np.var(rates, ddof=1) / 4
    effective = 0.55 * 0.45 / variance
    quantile = t.ppf(0.975, 3) ** 2 / effective
    centre = (0.55 + quantile / 2) / (1 + quantile)
    _, low, high = mean_over_datasets(rates, counts)
    assert (low + high) / 2 == pytest.approx(centre)


def test_datasets_that_agree_leave_open_what_their_images_do():
    _, low, high = mean_over_datasets([0.5, 0.5, 0.5], [100, 100, 100])
    half = t.ppf(0.975, 2) * np.sqrt(0.25 / 300)
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_none_and_all_right_stay_in_their_bounds(rate: float):
    mean, low, high = mean_over_datasets([rate] * 3, [50] * 3)
    assert mean == rate
    assert (low, high)[round(rate)] == pytest.approx(rate)
    assert high - low > 0


@pytest.mark.parametrize(("datasets", "scatter", "least"), [(3, 0.1, 0.93), (8, 0.15, 0.93), (5, 0.0, 0.95)])
def test_the_interval_covers_the_mean_of_all_datasets(datasets: int, scatter: float, least: float):
    draw, inside, times = np.random.default_rng(0), 0, 1500
    for _ in range(times):
        truths = np.clip(draw.normal(0.4, scatter, datasets), 0.01, 0.99)
        _, low, high = mean_over_datasets((draw.binomial(200, truths) / 200).tolist(), [200] * datasets)
        inside += low <= 0.4 <= high
    assert inside / times >= least


def test_a_row_that_is_worse_on_one_dataset_and_better_on_none_is_behind():
    assert ranks_over_datasets([[mask(80), mask(40)], [mask(50), mask(50)]]) == [1, 2]


def test_rows_that_win_on_one_dataset_each_share_their_rank():
    assert ranks_over_datasets([[mask(80), mask(40)], [mask(40), mask(80)]]) == [1, 1]


def test_the_correction_is_over_all_datasets():
    p = mcnemar(0, 6)  # significant alone, not among two
    assert holm([p]) == [True]
    assert holm([p, 1.0]) == [False, False]
    assert ranks_over_datasets([[mask(56), mask(50)]]) == [1, 2]
    assert ranks_over_datasets([[mask(56), mask(50)], [mask(50), mask(50)]]) == [1, 1]
