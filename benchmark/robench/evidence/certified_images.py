"""Certified images must stand: the check, for the gate, which counts on tensors, and for who reads cards, on bits."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce

from robench.contracts.threat_model import BALL_TOLERANCE, Norm, format_eps
from robench.evidence.card import CertificateRecord, Check, Outcome
from robench.evidence.check_verdict import check
from robench.evidence.compound_rules import STANDS, STRAYS, certified_stand
from robench.evidence.statistics import binomial_tail, number_of

#: By how much the length of one vector exceeds another: of d pixels, a step in the first norm in the second one.
_ORDERS: dict[Norm, float] = {"L1": 1.0, "L2": 0.5, "Linf": 0.0}
#: Images that a sentence lists.
LISTED = 8


@dataclass(frozen=True)
class Claim:
    """Hold what a certificate says of one defended victim: ``bits`` are the images that it certifies, as a number."""

    name: str
    bits: int
    n: int
    norm: Norm
    eps: float
    error: float
    randomized: bool

    @classmethod
    def of(cls, record: CertificateRecord, norm: Norm, eps: float) -> Claim:
        """Return the claim that a card states."""
        name, bits = record.certificate.label, number_of(record.mask())
        return cls(name, bits, record.n, norm, eps, record.error, record.randomized)


@dataclass(frozen=True)
class Look:
    """Hold how images were answered within one ball: in how many of ``draws`` each had its label put first."""

    attack: str
    hits: Sequence[int]
    draws: int


def looks_of(attack: str, clean: Outcome, robust: Outcome) -> list[Look]:
    """Return what a card saw: the images as they are, which lie in every ball, and attacked."""
    return [Look(who, _hits(outcome), outcome.draws) for who, outcome in (("", clean), (attack, robust))]


def contains(norm: Norm, eps: float, other: Norm, radius: float, size: int) -> bool:
    """Tell whether a ball of ``size`` pixels holds every image of another norm and radius."""
    longer: float = float(size) ** max(0.0, _ORDERS[norm] - _ORDERS[other])
    return (radius + BALL_TOLERANCE) * longer <= eps + BALL_TOLERANCE * (1 + 1e-9)


def stands_check(claims: Sequence[Claim], looks: Sequence[Look]) -> Check:
    """Return the check of one defended victim's certificates: the worst of them; there is at least one."""
    found = [_one(claim, looks) for claim in claims]
    return min(found, key=lambda one: (one.status != "invalid", -(one.value or 0.0)))


def _one(claim: Claim, looks: Sequence[Look]) -> Check:
    distinct = {(look.attack, tuple(look.hits)): look for look in looks}.values()
    turned: dict[str, int] = {}
    for look in distinct:
        turned[look.attack] = turned.get(look.attack, 0) | _turned(look, claim.randomized) & claim.bits
    fallen = reduce(operator.or_, turned.values(), 0)
    figures = {
        "certified": claim.bits.bit_count(), "fallen": fallen.bit_count(), "error": claim.error,
        "looks": len(distinct) if claim.randomized else 0,
    }  # fmt: skip
    weighed = certified_stand(figures)
    meaning = _said(claim, turned, fallen) if fallen else f"No image that {claim.name} certifies falls to anything."
    if fallen and weighed.status == "pass":
        meaning += " No more than its stated error and chance explain."
    return check(STANDS, weighed.status, weighed.value, weighed.threshold, weighed.n, meaning, figures)


def _said(claim: Claim, turned: dict[str, int], fallen: int) -> str:
    by = [attack for attack, bits in turned.items() if bits and attack]
    how = f"fall to {', '.join(by)}" if by else "are answered wrongly without any attack"
    places = [place for place in range(claim.n) if fallen >> (claim.n - 1 - place) & 1]
    listed = ", ".join(map(str, places[:LISTED])) + (f" and {len(places) - LISTED} more" if places[LISTED:] else "")
    return (
        f"{len(places)} of the {claim.bits.bit_count()} images that {claim.name} certifies at {claim.norm} "
        f"{format_eps(claim.eps)} {how} (images {listed}): the certificate is wrong, or the model that it speaks of is "
        "not the one that was attacked."
    )


def _turned(look: Look, randomized: bool) -> int:
    """Return the images of which an answer to the ball is certainly another than the label."""
    if not randomized:
        return number_of(2 * hits <= look.draws for hits in look.hits)
    least = _too_few(look.draws)
    return number_of(hits < least for hits in look.hits)


@lru_cache
def _too_few(draws: int) -> int:
    """Return the fewest hits of ``draws`` that an answer which comes at least half of the time gives, but for chance.

    With fewer, the chance of so few, of a binomial of one half, is at most ``STRAYS``.
    """
    return next(hits for hits in range(draws + 1) if binomial_tail(draws - hits, draws, 0.5) > STRAYS)


def _hits(outcome: Outcome) -> Sequence[int]:
    return [outcome.draws * flag for flag in outcome.mask()] if outcome.hits is None else outcome.hits
