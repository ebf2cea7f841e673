"""What the checks of the gate weigh, for whoever reads a card: from figures to a status, without running anything.

A card holds, per check, the figures that were weighed, as ``check_verdict`` writes them down. So a status, a value or a
threshold that was written into a card by hand is found: the figures say otherwise. The gate takes its limits from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from robench.evidence.card import Status
from robench.evidence.check_verdict import INTOLERABLE, STRONGER, TOLERATED, confirmed, looked_at, weighed
from robench.evidence.compound_rules import RULES, STANDS, STRONGER_ONE, Figures, Weighed

#: Every check of the gate, in the order of the card.
CHECKS = (
    *("box and ball", "eps = 0", "images moved", "model asked", "deterministic", "batch-mates", "evaluation mode"),
    *("same answer while attacked", "re-score from disk", "clean answers again", "robust <= clean"),
    *("reference clean accuracy", "above chance", "classes shown", "class order", "split leakage"),
    *("generalisation gap", "trained parameters", "gradients present", "gradients true", "gradients useful"),
    *("logit scale", "declared gradient", "straight-through path", "straight-through leads"),
    *("undefended victim falls", "step size", "best iterate", "converged", "more steps", "accuracy falls with eps"),
    *("unbounded attack", "one step <= many steps", "cheaper attack <= dearer", "transfer <= white-box"),
    *("stronger attack", "another loss", "measured slopes <= gradients", "queries <= gradients"),
    *("noise <= gradients", "stable loss", "binarization"),
)

#: Checks that a card has only where there is something for them to see.
WHERE_CERTIFIED = (STANDS,)

#: Of one perturbation for all images, and of common corruptions.
ONE = "one perturbation"
EVERY, GROWS, BLINDLY, DIFFER = "every image corrupted", "severity counts", "corrupted unasked", "corruptions differ"
OF_CORRUPTIONS = (EVERY, GROWS, BLINDLY, DIFFER)

#: Checks that a card has only where its attack is of the kind that they look at, in the order of the card.
OF_A_KIND = (ONE, STRONGER_ONE, *OF_CORRUPTIONS)

#: Counts that have to be zero, and of what.
ZERO: Mapping[str, str] = {
    "box and ball": "images",
    "eps = 0": "images moved",
    "deterministic": "images differ",
    "batch-mates": "images differ",
    "evaluation mode": "modules",
    "same answer while attacked": "images differ",
    "re-score from disk": "images differ",
    "clean answers again": "images differ",
    "robust <= clean": "images",
    "straight-through path": "images differ",
    "best iterate": "images",
    ONE: "images",
    BLINDLY: "passes",
}

#: Shares of test images: that lie in the training split, bit by bit (SUSPECT, INVALID), and by which a relabelling may
#: explain the answers better.
LEAKED, RELABELLED = (0.01, 0.05), 0.2


class ShareRule(NamedTuple):
    """Say which shares of the images that were looked at are too large.

    Attributes:
        limits: above the first a row is SUSPECT, above the second INVALID.
        invalid: whether the second one counts.
        threshold: the text where it is another than usual.
    """

    limits: tuple[float, float]
    invalid: bool
    threshold: str = ""


#: Rules by check.
SHARES: Mapping[str, ShareRule] = {
    "gradients present": ShareRule((0.05, 0.5), True),
    "gradients true": ShareRule((0.25, 0.25), True),
    "gradients useful": ShareRule((0.25, 0.5), True),
    "logit scale": ShareRule((0.05, 1.0), False),
    "straight-through leads": ShareRule((0.25, 0.5), True),
    "step size": ShareRule((0.25, 1.0), False, "<= 25% of the paths"),
    "unbounded attack": ShareRule((0.05, 1.0), False),
    "another loss": ShareRule((0.5, 1.0), False),
    "stable loss": ShareRule((0.5, 1.0), False, "<= 10% change on 50% of the images tried"),
    "binarization": ShareRule((1 - 0.95, 1.0), False, "<= 5% not found"),
    EVERY: ShareRule((0.05, 0.25), True, "<= 5% of the images unmoved"),
    GROWS: ShareRule((0.25, 0.5), True, "<= 25% of the images alike"),
    DIFFER: ShareRule((0.05, 0.5), True, "<= 5% of the images alike"),
}

#: Shares of all images that other attacks win: the limits, and whether the second one makes a row INVALID.
LOST: Mapping[str, tuple[tuple[float, float], bool]] = {
    "more steps": ((0.02, 0.10), False),
    "one step <= many steps": ((TOLERATED, INTOLERABLE), True),
    "cheaper attack <= dearer": ((TOLERATED, INTOLERABLE), False),
    "transfer <= white-box": ((TOLERATED, INTOLERABLE), True),
    "stronger attack": (STRONGER, True),
    "measured slopes <= gradients": ((TOLERATED, INTOLERABLE), True),
    "queries <= gradients": ((TOLERATED, INTOLERABLE), True),
    "noise <= gradients": ((TOLERATED, INTOLERABLE), True),
}


def weigh(name: str, figures: Figures) -> Weighed | None:
    """Return what the figures of a check come to; None for a check that weighs more than counts.

    Raises:
        KeyError: a figure that the check weighs is not there.
    """
    if name in LOST and "won" in figures:
        return _lost(name, figures)
    if name in SHARES and "among" in figures:
        return _share(name, figures)
    if name in RULES and figures:
        return RULES[name](figures)
    if name in ZERO and "count" in figures:
        count = figures["count"]
        return Weighed("invalid" if count else "pass", count, f"= 0 {ZERO[name]}", int(figures["n"]))
    return None


def _lost(name: str, figures: Figures) -> Weighed:
    limits, invalid = LOST[name]
    if name == "transfer <= white-box" and figures.get("gradientless"):
        limits = (1.0, 1.0)  # without gradients transfer is one of the attacks that count, and accuses nobody
    threshold, tried = f"<= {limits[0]:.0%} of the images", int(figures["tried"])
    if not tried:
        return Weighed("skipped", None, threshold, 0)
    among = looked_at(tried, figures["standing"], figures["of"])
    worst: Status = "invalid" if invalid and not figures.get("mild") else "suspect"
    won = figures["won"]
    enough = min(figures.get("enough", 2), 2)
    status = confirmed(weighed(won, among, limits, worst), won, bool(figures.get("doubtful")), enough)
    return Weighed(status, figures["won"] / among, threshold, tried)


def _share(name: str, figures: Figures) -> Weighed:
    limits, invalid, threshold = SHARES[name]
    count, n = figures["count"], int(figures["among"])
    worst: Status = "invalid" if invalid and not figures.get("mild") else "suspect"
    text = threshold or f"<= {limits[0]:.0%} of the images tried"
    return Weighed(weighed(count, n, limits, worst), count / max(n, 1), text, n)
