"""How a check is written down, and when a share of lost images is too large: for the gate and for who reads cards."""

from __future__ import annotations

from robench.evidence.card import Check, Status
from robench.evidence.statistics import wilson

#: Share of all images that a weaker attack may win over a stronger one: above, SUSPECT; far above, INVALID.
TOLERATED, INTOLERABLE = 0.01, 0.05
#: Share of all images that a stronger attack may win. From PGD to AutoAttack honest adversarial training loses 0.5 to
#: 3.5 points on CIFAR-10, and 5.4 here (PGD-20 to APGD, TeCoA on digits); masked defenses lose 11 (TGA-ZSR) to all.
STRONGER = (0.08, 0.20)


def check(name: str, status: Status, value: float | None, threshold: str, n: int, meaning: str) -> Check:
    """Return one entry of the verdict; ``value`` as float from the first, since 0 and 0.0 are two texts in JSON."""
    number = None if value is None else round(float(value), 9)
    return Check(name=name, status=status, value=number, threshold=threshold, n=n, meaning=meaning)


def skip(name: str, threshold: str, reason: str) -> Check:
    """Return the entry of a check that could not or need not be made."""
    return check(name, "skipped", None, threshold, 0, reason)


def zero(name: str, count: int, what: str, n: int, good: str, bad: str, fault: Status = "invalid") -> Check:
    """Return the entry of a check whose count has to be zero."""
    return check(name, fault if count else "pass", count, f"= 0 {what}", n, bad if count else good)


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
) -> Check:
    """Return the entry of a check: ``won`` of ``tried`` images fell that the attacks on this model left standing.

    Where all ``standing`` images were tried, the share of all ``n`` is known exactly; else, and where the answers are
    left to ``chance``, the lower end of its 95 % interval counts, and a single image accuses nobody.
    """
    threshold = f"<= {limits[0]:.0%} of the images"
    if not tried:
        dear = "Not tried: dearer than what the gate may spend on this cell. Give it more with --gate-cost."
        return skip(name, threshold, "No image was left standing to be tried." if not standing else dear)
    sampled = chance or tried < standing
    certain = (wilson(won, tried)[0] if won > 1 else 0.0) if sampled else won / tried
    share = certain * standing / n
    status: Status = "invalid" if share > limits[1] else "suspect" if share > limits[0] else "pass"
    status = worst if status == "invalid" else status
    return check(name, status, won / tried * standing / n, threshold, tried, good if status == "pass" else bad)
