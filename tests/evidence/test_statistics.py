"""Intervals against scipy and statsmodels; bit strings there and back."""

from __future__ import annotations

import base64
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from robench.errors import CardError
from robench.evidence.statistics import pack_bits, proportion, unpack_bits, wilson

COUNTS = [(0, 1), (1, 1), (0, 10), (10, 10), (3, 10), (500, 1000), (999, 1000), (1, 10_000), (9260, 10_000)]


@pytest.mark.parametrize(("correct", "n"), COUNTS)
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_is_scipys(correct, n, confidence):
    expected = binomtest(correct, n).proportion_ci(confidence, method="wilson")
    assert wilson(correct, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("correct", "n"), COUNTS)
def test_wilson_is_statsmodels(correct, n):
    proportions = pytest.importorskip("statsmodels.stats.proportion")
    expected = proportions.proportion_confint(correct, n, 0.05, method="wilson")
    assert wilson(correct, n) == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_rate_and_stays_in_range(counts):
    correct, n = counts
    low, high = wilson(correct, n)
    assert 0 <= low <= correct / n <= high <= 1
    mirrored = wilson(n - correct, n)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-12)


def test_the_ends_are_exact():
    assert wilson(0, 7)[0] == 0.0
    assert wilson(7, 7)[1] == 1.0


def test_a_card_rounds_the_interval_to_six_digits():
    # Brown, Cai and DasGupta's example sizes: 5 of 10.
    assert proportion(5, 10) == (0.236593, 0.763407)


@given(st.lists(st.booleans(), max_size=100))
def test_bits_survive_packing(flags):
    assert unpack_bits(pack_bits(flags), len(flags)) == flags


@pytest.mark.parametrize(
    ("flags", "octets"),
    [
        ([], b""),
        ([True], b"\x80"),
        ([False] * 7 + [True], b"\x01"),
        ([True] * 8 + [False, True], b"\xff\x40"),
    ],
)
def test_bits_are_packed_big_endian(flags, octets):
    assert base64.b64decode(pack_bits(flags)) == octets


@pytest.mark.parametrize("n", [8, 17, 10**400])
def test_bits_of_another_number_of_images_are_refused(n):
    with pytest.raises(CardError) as raised:
        unpack_bits(pack_bits([True] * 9), n)
    assert str(raised.value) == f"the per-image bits hold 2 bytes, not those of {n} images."


@pytest.mark.parametrize("text", ["?", "abc", "a" * 5, "é", "AA=A", " gA=="])
def test_bits_that_are_no_base64_are_refused(text):
    with pytest.raises(CardError) as raised:
        unpack_bits(text, 8)
    assert str(raised.value) == "the per-image bits are not base64."


def test_the_module_imports_no_scipy():
    code = "import sys, robench.evidence.statistics; sys.exit('scipy' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
