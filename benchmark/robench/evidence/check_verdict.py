"""How a check is written down, from the figures that it weighs: for the gate and for who reads cards."""

from __future__ import annotations

from robench.evidence.card import Check, Status
from robench.evidence.check_rules import (
    INTOLERABLE,
    RULES,
    TOLERATED,
    Figures,
    Weighed,
    plain,
    weigh_lost,
)


def check(
    name: str, status: Status, value: float | None, threshold: str, n: int, meaning: str, figures: Figures | None = None
) -> Check:
    """Return one entry of the verdict; ``value`` as float from the first, since 0 and 0.0 are two texts in JSON."""
    number = None if value is None else round(float(value), 9)
    return Check(
        name=name, status=status, value=number, threshold=threshold, n=n, meaning=meaning, figures=plain(figures or {})
    )


def weigh(name: str, figures: Figures) -> Weighed:
    """Return what the figures of the check of that name come to."""
    return RULES[name](plain(figures))


def entry(name: str, figures: Figures, meaning: str) -> Check:
    """Return the entry of the check of that name, as its figures have it."""
    return check(name, *weigh(name, figures), meaning, figures)


def zero(name: str, count: int, n: int, good: str, bad: str, **figures: float) -> Check:
    """Return the entry of a check whose count has to be zero."""
    return entry(name, {"count": count, "n": n, **figures}, bad if count else good)


def skip(name: str, threshold: str, reason: str) -> Check:
    """Return the entry of a check of lost images that could not or need not be made."""
    return check(name, "skipped", None, threshold, 0, reason, {"tried": 0})


def lost(
    name: str,
    won: int,
    tried: int,
    standing: int,
    n: int,
    good: str,
    bad: str,
    limits: tuple[float, float] = (TOLERATED, INTOLERABLE),
    worst: Status = "invalid",
    chance: bool = False,
    **figures: float,
) -> Check:
    """Return the entry of a check: ``won`` of ``tried`` images fell that the attacks on this model left standing."""
    weighing = plain({"won": won, "tried": tried, "standing": standing, "of": n, "chance": chance, **figures})
    found = weigh_lost(weighing, limits, worst)
    if not tried:
        dear = "Not tried: dearer than what the gate may spend on this cell. Give it more with --gate-cost."
        return check(name, *found, "No image was left standing to be tried." if not standing else dear, weighing)
    return check(name, *found, good if found.status == "pass" else bad, weighing)
