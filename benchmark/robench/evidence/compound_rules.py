"""Checks that weigh several counts against each other, as functions of the figures that a card holds.

The gate takes its verdicts from here, and so does whoever reads a card.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from robench.evidence.card import Status
from robench.evidence.check_verdict import (
    MOST_NEEDED,
    ONE_SIDED,
    STRONGER,
    TOLERATED,
    exceeds,
    exceeds_net,
    looked_at,
    needed,
    weighed,
)
from robench.evidence.statistics import binomial_tail, wilson

Figures = Mapping[str, float]

CONVERGED, EPS, GAP = "converged", "accuracy falls with eps", "generalisation gap"
FALLS = "undefended victim falls"
STANDS = "certified images stand"
STRONGER_ONE = "stronger universal"

#: A loss still rises if its last iterates bring more than this share of the whole rise; share of the recorded paths
#: that may do so.
MOVING, STILL_MOVING = 0.05, 0.5
#: Share of the tried images that may stand at a larger radius though they fell at a smaller one.
RISING = 0.10
#: Honest models have no gap at all, so that one in forty of them would be accused at 95 %.
CONFIDENCE = 0.999
#: Certain gap to validation images, and to moved images, which are strange to an honest model too: above, SUSPECT;
#: INVALID.
TO_VALIDATION, TO_MOVED = (0.05, 0.20), (0.25, 1.0)
#: Share of the pairs of a test and a validation image of which the test image may be the easier one, where images drawn
#: alike make it half; and how often a share exactly there may be accused (the lower end of a 99 % interval).
EASIER, MISTAKEN = 0.6, 0.005
#: An attack hardly moves a model if certainly fewer than this share of the images fall.
HARDLY = 0.2
#: Share of the images that an attack certainly has to win without bounds to count as one that works.
WINS = 0.25
#: How often an image that is answered by its label half of the time may be answered otherwise so often that it counts
#: as fallen; by how little chance more images fall than a certificate's stated error explains.
STRAYS, UNEXPLAINED = 0.001, 0.001
FALLING = "significantly more images fall than rise"


class Weighed(NamedTuple):
    """Say what figures come to.

    Attributes:
        status, value, threshold, n: as in the card's check.
        by: which of the things that the check weighs decided, where it weighs several.
    """

    status: Status
    value: float | None
    threshold: str
    n: int
    by: str = ""


def converged(figures: Figures) -> Weighed:
    """Weigh the paths whose loss still rises at the end (``moving`` of ``among``), where twice the steps win more.

    Twice the steps won ``won`` of the ``tried`` images, ``standing`` of ``of`` images having been left.
    """
    moving, among, standing = figures["moving"], int(figures["among"]), figures["standing"]
    wins = (
        exceeds(figures["won"], looked_at(figures["tried"], standing, figures["of"]), TOLERATED) if standing else False
    )
    status = weighed(moving, among, (STILL_MOVING, 1.0), "suspect") if wins else "pass"
    return Weighed(status, moving / among, f"<= {MOVING:.0%} of the rise in the last 10 iterates", among)


def falls_with_eps(figures: Figures) -> Weighed:
    """Weigh the images that stand at a larger radius only (``rising``), and those right at eps = 0.5 (``blinding``)."""
    among, threshold = int(figures["among"]), "monotone, and at chance at eps = 0.5"

    def of(count: float, limit: float, by: str) -> Weighed:
        return Weighed(weighed(count, among, (limit, 1.0), "suspect"), count / max(among, 1), threshold, among, by)

    rising = of(figures["rising"], RISING, "rising")
    if rising.status == "suspect" or "blinding" not in figures or figures["classes"] < 2:
        return rising
    seeing = of(figures["blinding"], 1 / figures["classes"], "blinding")
    return rising if seeing.status == "pass" else seeing


def generalises(figures: Figures) -> Weighed:
    """Weigh how many more of ``of`` test images are right than of others, without and under attack.

    The others are validation images (``validation``), or else test images moved by one pixel: ``clean_others_right``
    of ``clean_others`` and, where they were attacked, ``robust_others_right`` of ``robust_others``. Beside them, how
    many of ``pairs`` test images fall only when they are moved, and in how many of ``compared`` pairs of a test and a
    validation image the test image is the ``easier`` one. Since ``exact`` is 2, what is above a limit but not certainly
    is no pass.
    """
    validation, of = bool(figures["validation"]), int(figures["of"])
    limits = TO_VALIDATION if validation else TO_MOVED
    threshold = f"<= {limits[0]:.0%} certainly"
    kinds = [kind for kind in ("clean", "robust") if figures.get(f"{kind}_others")]
    by = max(kinds, key=lambda kind: _gap_of(figures, kind))
    beyond = [_certain(figures, by, limit) for limit in limits]
    status: Status = "invalid" if beyond[1] else "suspect" if beyond[0] else "pass"
    wrong = int(figures["clean_others"] - figures["clean_others_right"])
    if (
        status == "pass"
        and validation
        and figures["clean"] == of
        and _no_chance(wrong, int(figures["clean_others"]), of)
    ):
        status, by = "suspect", "all right"
    kind = "robust" if by == "robust" else "clean"
    found = Weighed(status, _seen_gap(figures, kind), threshold, int(figures[f"{kind}_others"]), by)
    if status != "pass":
        return found
    more = [one for one in (_of_pairs(figures, name) for name in ("moved", "easier")) if one is not None]
    accusing = next((one for one in more if one.status == "suspect"), None)
    if accusing is not None:
        return accusing
    if figures.get("exact", 0) < 2:
        return found
    for kind in kinds:
        if (gap := _seen_gap(figures, kind)) > limits[0]:
            return Weighed("skipped", gap, threshold, int(figures[f"{kind}_others"]), kind)
    return more[0] if more else found


def _seen_gap(figures: Figures, kind: str) -> float:
    return figures[kind] / figures["of"] - figures[f"{kind}_others_right"] / figures[f"{kind}_others"]


def _gap_of(figures: Figures, kind: str) -> float:
    others = figures[f"{kind}_others"]
    return certain_gap(figures[kind], int(figures["of"]), figures[f"{kind}_others_right"], others)


def _certain(figures: Figures, kind: str, limit: float) -> bool:
    return _gap_of(figures, kind) > limit and _no_luck(figures, kind, limit)


def _of_pairs(figures: Figures, by: str) -> Weighed | None:
    """Weigh the pairs of one kind; None where there are none, or no more than the limit."""
    count, pairs, limit, chance = _pairs(figures, by)
    if not pairs or count <= limit * pairs:
        return None
    status: Status = "suspect" if exceeds(count, pairs, limit, chance) else "skipped"
    return Weighed(status, count / pairs, f"<= {limit:.0%} certainly", pairs, by)


def _pairs(figures: Figures, by: str) -> tuple[float, int, float, float]:
    """Return how many pairs of how many are at fault, the limit, and how often a share exactly there is accused."""
    if by == "easier":
        return figures.get("easier", 0), int(figures.get("compared", 0)), EASIER, MISTAKEN
    fewer = figures.get("pairs_right", 0) - figures.get("pairs_moved_right", 0)
    return fewer, int(figures.get("pairs", 0)), TO_MOVED[0], ONE_SIDED


def gap_needed(figures: Figures, by: str) -> int:
    """Return of about how many other images, or pairs, the shares seen would certainly exceed the limit ``by`` has."""
    if by in ("moved", "easier"):
        return needed(*_pairs(figures, by))
    limit = (TO_VALIDATION if figures["validation"] else TO_MOVED)[0]
    others = images = int(figures[f"{by}_others"])
    while images < MOST_NEEDED:
        images += max(1, images // 20)
        scaled = {
            name: round(figures[name] * images / others) for name in ("of", by, f"{by}_others", f"{by}_others_right")
        }
        if _certain({**figures, **scaled}, by, limit):
            break
    return images


def _no_luck(figures: Figures, kind: str, limit: float) -> bool:
    """Tell whether as few of the other images would hardly be right if the gap were just the limit (exact, binomial).

    Newcombe's interval is too short on a handful of images. Cards of before, without ``exact``, go by it alone.
    """
    if not figures.get("exact"):
        return True
    others, right = int(figures[f"{kind}_others"]), int(figures[f"{kind}_others_right"])
    wrong = 1 - (figures[kind] / figures["of"] - limit)
    return binomial_tail(others - right, others, wrong) < (1 - CONFIDENCE) / 2


def certain_gap(right: float, n: int, other: float, others: float) -> float:
    """Return the lower end of the 99.9 % interval of the difference of two shares (Newcombe 1998, from Wilson's)."""
    one, two = right / n, other / others
    below, above = one - wilson(int(right), n, CONFIDENCE)[0], wilson(int(other), int(others), CONFIDENCE)[1] - two
    return one - two - math.hypot(below, above)


def _no_chance(wrong: int, others: int, n: int) -> bool:
    """Tell whether it is no chance that all mistakes are among the other images (Fisher's exact test)."""
    chance: float = math.prod((others - place) / (n + others - place) for place in range(wrong))
    return bool(wrong) and bool(chance < (1 - CONFIDENCE) / 2)


def undefended_falls(figures: Figures) -> Weighed:
    """Weigh how many images of the undefended victim fell to the attack (``lost``), and how many rose (``gained``).

    Before it ``control`` of ``of`` were right. ``others``: whether other attacks of the run work there. ``unbounded``
    of ``swept`` images withstood the attack without bounds, where nothing of the gate's own wins at the cell's radius.
    ``untried``: nothing of the gate's own wins there, and no pass was left to look without bounds.
    """
    n, right = int(figures["of"]), figures["control"]
    robust = right - figures["lost"] + figures["gained"]
    works, fallen = fell(int(figures["lost"]), int(figures["gained"])), max(right - robust, 0)
    if works:
        return Weighed("pass", robust / n, FALLING, n, "works")
    if figures["others"]:
        return Weighed("skipped", None, FALLING, 0, "others")
    if "swept" in figures and exceeds(figures["swept"] - figures["unbounded"], figures["swept"], WINS):
        return Weighed("pass", robust / n, FALLING, n, "unbounded")
    if right and wilson(int(fallen), int(right))[1] >= HARDLY:
        return Weighed("skipped", robust / n, FALLING, n, "few")
    if figures.get("untried"):
        return Weighed("skipped", robust / n, FALLING, n, "untried")
    return Weighed("suspect", robust / n, FALLING, n, "hardly")


def fell(lost_images: int, gained: int) -> bool:
    """Tell whether attacked images fell more often than they rose: a 99 % score test on the pairs that differ."""
    return lost_images + gained > 0 and wilson(lost_images, lost_images + gained, 0.99)[0] > 0.5


def certified_stand(figures: Figures) -> Weighed:
    """Weigh how many of the ``certified`` images were turned (``fallen``).

    Of a proof none may be. Where each image may be certified wrongly with probability ``error``, or be taken for fallen
    by chance in each of the ``looks`` at answers that are drawn, the exact binomial tail says when there are too many.
    """
    fallen, certified = int(figures["fallen"]), int(figures["certified"])
    chance = min(figures["error"] + STRAYS * figures["looks"], 0.5)
    if chance <= 0:
        return Weighed("invalid" if fallen else "pass", fallen, "= 0 certified images", certified)
    many = fallen > 0 and binomial_tail(fallen, certified, chance) < UNEXPLAINED
    threshold = f"no more than {chance:.2%} an image explains"
    return Weighed("invalid" if many else "pass", fallen, threshold, certified)


def stronger_one(figures: Figures) -> Weighed:
    """Weigh how many of ``among`` images fall to the harness's own one perturbation alone, and to the judged one alone.

    Two perturbations of equal strength may fell different images, so what counts is ``won`` less ``lost``.
    """
    won, lost, among = figures["won"], figures["lost"], int(figures["among"])
    beyond = [exceeds_net(won, lost, among, limit) for limit in STRONGER]
    seen: Status = "skipped" if won - lost > STRONGER[0] * among else "pass"
    status: Status = "invalid" if beyond[1] else "suspect" if beyond[0] else seen
    return Weighed(status, max(won - lost, 0) / among, f"<= {STRONGER[0]:.0%} of the images tried", among)


#: By check, what its figures come to.
RULES: Mapping[str, Callable[[Figures], Weighed]] = {
    CONVERGED: converged,
    EPS: falls_with_eps,
    GAP: generalises,
    FALLS: undefended_falls,
    STANDS: certified_stand,
    STRONGER_ONE: stronger_one,
}
