"""The one rule by which a share accuses: the exact interval, held against scipy, and what it says of few images."""

from __future__ import annotations

import pytest
from scipy.stats import binom, binomtest

from robench.evidence.check_rules import weigh
from robench.evidence.check_verdict import STRONGER, exceeds, lost, needed, share, too_few, weighed
from robench.evidence.statistics import binomial_tail


@pytest.mark.parametrize(
    ("count", "n", "rate"), [(0, 5, 0.3), (1, 5, 0.3), (4, 4, 0.05), (60, 100, 0.5), (3, 10_000, 1e-4)]
)
def test_the_tail_is_scipys(count, n, rate):
    assert binomial_tail(count, n, rate) == pytest.approx(binom.sf(count - 1, n, rate), abs=1e-9)


@pytest.mark.parametrize("limit", [0.01, 0.08, 0.5])
@pytest.mark.parametrize("n", [2, 7, 44, 500])
def test_a_share_exceeds_its_limit_where_its_exact_interval_does(n, limit):
    for count in range(2, n + 1):
        low = binomtest(count, n).proportion_ci(0.95, method="exact").low
        assert exceeds(count, n, limit) == (low > limit)


def test_one_image_accuses_nobody():
    assert not exceeds(1, 2, 0.01)
    assert exceeds(2, 2, 0.01)


@pytest.mark.parametrize(
    ("count", "n", "status"),
    [
        (0, 100, "pass"),
        (1, 100, "pass"),
        (3, 100, "skipped"),
        (4, 100, "suspect"),
        (10, 100, "suspect"),
        (11, 100, "invalid"),
    ],
)
def test_what_a_share_says_by_hand(count, n, status):
    # P(X >= 3 | 100, 1 %) = 7.9 %, of 4 1.8 %; P(X >= 10 | 100, 5 %) = 2.8 %, of 11 1.2 %.
    assert weighed(count, n, (0.01, 0.05)) == status
    assert weighed(count, n, (0.01, 0.05), "suspect") == ("suspect" if status == "invalid" else status)


def test_it_says_how_many_images_would_tell():
    images = needed(2, 40, 0.02)

    assert exceeds(0.05 * images, images, 0.02)
    assert not exceeds(0.05 * images * 0.8, images * 0.8, 0.02)
    assert too_few(2, 40, 0.02) == (
        "Not enough images: 2 of 40 are more than 2%, but on so few that may be chance. About "
        f"{images} would tell (--n)."
    )


def test_a_check_keeps_its_share_and_its_count_where_it_accuses_nobody():
    few = share("one", 3, 4, (0.5, 1.0), "good", "bad", worst="suspect")
    many = share("one", 30, 40, (0.5, 1.0), "good", "bad", worst="suspect")

    assert (few.status, few.value, few.n) == ("skipped", 0.75, 4)
    assert few.meaning.startswith("Not enough images: 3 of 4 are more than 50%")
    assert (many.status, many.value, many.n, many.meaning) == ("suspect", 0.75, 40, "bad")


def test_two_survivors_of_forty_images_accuse_nobody():
    # Another seed wins one of the two images that stand: 2.5 % of 40, and no evidence.
    assert lost("more steps", 1, 2, 2, 40, "good", "bad", (0.02, 0.1)).status == "skipped"
    # All four of the ten that stand which were tried fall: as if 4 of 16 had.
    assert lost("stronger attack", 4, 4, 10, 40, "good", "bad", (0.08, 0.2)).status == "skipped"
    assert lost("stronger attack", 4, 4, 20, 40, "good", "bad", (0.08, 0.2)).status == "suspect"


@pytest.mark.parametrize(
    ("won", "doubtful", "enough", "status"),
    [
        (2, False, 2, "skipped"),
        (2, True, 2, "suspect"),
        (1, False, 1, "skipped"),
        (1, True, 1, "suspect"),
        (1, True, 2, "skipped"),
        (0, True, 1, "pass"),
    ],
)
def test_a_number_of_one_step_alone_does_not_stand_on_too_few_images(won, doubtful, enough, status):
    found = lost("stronger attack", won, 4, 24, 60, "good.", "bad.", STRONGER, doubtful=doubtful, enough=enough)
    assert found.status == status
    assert weigh("stronger attack", found.figures).status == status
