"""A thousand simulated leaderboards: how often noise is ranked as a gap, and how often a true gap is found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from robench_leaderboard.statistics.significance import shared_ranks

BOARDS, ROWS, N = 1000, 5, 500


def simulate(rates: list[float], seed: int, boards: int = BOARDS, n: int = N) -> np.ndarray:
    """Return (boards, rows) ranks of rows whose true accuracies are ``rates``, on images of varied difficulty.

    All rows of a board answer the same images, so their outcomes are correlated, as those of real rows are.
    """
    draw = np.random.default_rng(seed)
    difficulty = draw.normal(0, 0.25, (boards, 1, n))
    right = draw.random((boards, len(rates), n)) < np.asarray(rates)[None, :, None] + difficulty
    found = np.empty((boards, len(rates)), dtype=int)
    for board, masks in enumerate(right):
        order = np.argsort(-masks.sum(axis=1), kind="stable")
        found[board, order] = shared_ranks(masks[order])
    return found


def test_rows_that_differ_by_noise_share_a_rank():
    """Family-wise error: on at most 5 % of boards of five equal rows is any gap declared at all."""
    wrong = int((simulate([0.5] * ROWS, 1) != 1).any(axis=1).sum())
    print(f"family-wise error rate: {wrong / BOARDS:.1%} of {BOARDS} boards")  # noqa: T201
    assert wrong <= binom.ppf(0.999, BOARDS, 0.05)


@pytest.mark.parametrize("rate", [0.02, 0.9])
def test_the_error_rate_holds_at_the_edges_too(rate: float):
    wrong = int((simulate([rate] * ROWS, 2) != 1).any(axis=1).sum())
    assert wrong <= binom.ppf(0.999, BOARDS, 0.05)


@pytest.mark.parametrize(("points", "at_least"), [(5, 0.25), (10, 0.85), (15, 0.99)])
def test_two_rows_that_differ_truly_do_not_share_a_rank(points: int, at_least: float):
    """Power for two rows on 500 images, ``points`` apart."""
    ranks = simulate([0.5 + points / 100, 0.5], 3)
    found = float((ranks == [1, 2]).all(axis=1).mean())
    print(f"two rows {points} points apart: told apart on {found:.1%} of {BOARDS} boards")  # noqa: T201
    assert found >= at_least


@pytest.mark.parametrize(("points", "at_least"), [(10, 0.4), (15, 0.95), (20, 0.999)])
def test_a_row_that_is_truly_ahead_of_four_leads_alone(points: int, at_least: float):
    """Power for the whole of a board of five, where ten comparisons are corrected for and four must succeed."""
    ranks = simulate([0.5 + points / 100, 0.5, 0.5, 0.5, 0.5], 3)
    alone = float(((ranks[:, 0] == 1) & (ranks[:, 1:] > 1).all(axis=1)).mean())
    print(f"one of five rows {points} points ahead: alone at the top on {alone:.1%} of {BOARDS} boards")  # noqa: T201
    assert alone >= at_least


def test_ranking_by_accuracy_alone_would_nearly_always_declare_a_gap():
    draw = np.random.default_rng(4)
    correct = (draw.random((BOARDS, ROWS, N)) < 0.5).sum(axis=2)
    assert (correct.max(axis=1) != correct.min(axis=1)).mean() > 0.99


def test_the_better_row_is_never_put_significantly_below():
    ranks = simulate([0.56, 0.5], 5)
    assert (ranks[:, 0] > ranks[:, 1]).mean() <= 0.001
