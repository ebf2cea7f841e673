"""Intervals and per-image bit strings, in plain Python.

A cached run must answer without importing scipy.stats (0.8 s); the tests hold these against scipy and statsmodels.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist

from robench.errors import CardError


def wilson(correct: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval (E. B. Wilson 1927) of ``correct`` out of ``n``.

    A mean over draws per image may be no whole number: the interval is then conservative, since the variance of
    means within [0, 1] is at most that of a Bernoulli variable of the same rate.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, spread = correct / n, z * z / n
    centre = (rate + spread / 2) / (1 + spread)
    half = z * math.sqrt(rate * (1 - rate) / n + spread / (4 * n)) / (1 + spread)
    low = 0.0 if correct == 0 else centre - half
    high = 1.0 if correct == n else centre + half
    return low, high


def proportion(correct: float, n: int) -> tuple[float, float]:
    """Return the Wilson 95 % interval, rounded so that it prints the same everywhere."""
    low, high = wilson(correct, n)
    return round(low, 6), round(high, 6)


def binomial_tail(count: int, n: int, rate: float) -> float:
    """Return the probability of ``count`` or more successes in ``n`` trials of probability ``rate``, 0 < rate < 1."""
    at_least = range(count, n + 1) if 2 * count > n else range(count)
    logs = [math.log(rate), math.log1p(-rate), math.lgamma(n + 1)]
    terms = (
        math.exp(logs[2] - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * logs[0] + (n - k) * logs[1])
        for k in at_least
    )
    total = math.fsum(terms)
    return min(1.0, total) if 2 * count > n else max(0.0, 1.0 - total)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p-value for two counts of discordant images (Q. McNemar 1947)."""
    n, fewer = only_first + only_second, min(only_first, only_second)
    tail: float = 2 * sum(math.comb(n, count) for count in range(fewer + 1)) / (1 << n)
    return min(1.0, tail)


def pack_bits(flags: Sequence[bool]) -> str:
    """Return the flags as base64 of big-endian packed bits."""
    padded = [*flags, *[False] * (-len(flags) % 8)]
    octets = bytes(
        sum(1 << (7 - place) for place in range(8) if padded[start + place]) for start in range(0, len(padded), 8)
    )
    return base64.b64encode(octets).decode()


def unpack_bits(text: str, n: int) -> list[bool]:
    """Return the ``n`` flags packed in ``text``; raise CardError if they are not ``n``."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CardError("the per-image bits are not base64.") from None
    if len(octets) != -(-n // 8):
        raise CardError(f"the per-image bits hold {len(octets)} bytes, not those of {n} images.")
    # As text of a number in base two: a leaderboard of thousands of cards reads millions of these.
    return [digit == "1" for digit in f"{int.from_bytes(octets):0{8 * len(octets)}b}"[:n]]


def number_of(flags: Iterable[bool]) -> int:
    """Return flags as the bits of a number, the first one highest."""
    return int("".join("1" if flag else "0" for flag in flags) or "0", 2)
