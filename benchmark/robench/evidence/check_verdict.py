"""How a check is written down, and when a share of images is too large: for the gate and for who reads cards.

One rule accuses: the exact 95 % interval of the share that was seen lies above the limit. Where more was seen than the
limit, but on too few images to be sure, the check says so, and how many would tell; it accuses nobody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from robench.evidence.card import Check, Status
from robench.evidence.statistics import binomial_tail

#: Share of all images that a weaker attack may win over a stronger one: above, SUSPECT; far above, INVALID.
TOLERATED, INTOLERABLE = 0.01, 0.05
#: Share of all images that a stronger attack may win. From PGD to AutoAttack honest adversarial training loses 0.5 to
#: 3.5 points on CIFAR-10, and 5.4 here (PGD-20 to APGD, TeCoA on digits); masked defenses lose 11 (TGA-ZSR) to all.
STRONGER = (0.08, 0.20)
#: How often a share that is exactly at its limit may be accused: the lower end of a 95 % interval.
ONE_SIDED = 0.025
#: How the sentence of a check begins that asks of an attack what it does not claim.
NOT_APPLICABLE = "Not applicable: "
#: How to have a check look at more images.
FEWER = "--n or --gate-images"
#: Most images that are ever asked for.
MOST_NEEDED = 100_000


def check(
    name: str,
    status: Status,
    value: float | None,
    threshold: str,
    n: int,
    meaning: str,
    figures: Mapping[str, float] | None = None,
) -> Check:
    """Return one entry of the verdict; ``value`` as float from the first, since 0 and 0.0 are two texts in JSON.

    ``figures`` are what it follows from: whoever reads the card weighs them again.
    """
    number = None if value is None else round(float(value), 9)
    counts = {key: int(one) if isinstance(one, int) else round(float(one), 9) for key, one in (figures or {}).items()}
    return Check(name=name, status=status, value=number, threshold=threshold, n=n, meaning=meaning, figures=counts)


def skip(name: str, threshold: str, reason: str) -> Check:
    """Return the entry of a check that could not or need not be made."""
    return check(name, "skipped", None, threshold, 0, reason)


def zero(name: str, count: int, what: str, n: int, good: str, bad: str, fault: Status = "invalid") -> Check:
    """Return the entry of a check whose count has to be zero: of what never may happen, one case is enough."""
    status = fault if count else "pass"
    return check(name, status, count, f"= 0 {what}", n, bad if count else good, {"count": count, "n": n})


def exceeds(count: float, n: float, limit: float, chance: float = ONE_SIDED) -> bool:
    """Tell whether ``count`` of ``n`` is certainly a larger share than ``limit``: its 95 % interval lies above.

    The interval is the exact one (Clopper and Pearson 1934), which errs on the side of who is accused where images
    are few. A single image accuses nobody. ``chance`` is how often a share exactly at the limit may be accused.
    """
    seen, among = math.floor(count + 1e-9), math.ceil(n - 1e-9)
    return seen > 1 and seen > limit * among and (limit <= 0 or binomial_tail(seen, among, limit) < chance)


def needed(count: float, n: float, limit: float, chance: float = ONE_SIDED) -> int:
    """Return about how many images, of which the same share is at fault, would certainly exceed ``limit``."""
    images = math.ceil(n)
    while not exceeds(count / n * images, images, limit, chance) and images < MOST_NEEDED:
        images += max(1, images // 20)
    return images


def exceeds_net(won: float, lost: float, n: float, limit: float) -> bool:
    """Tell whether ``won - lost`` of ``n`` is certainly more than ``limit``: pairs that differ, one way or the other.

    Of the pairs that differ, the share that was won is exact (Clopper and Pearson 1934), given how many there are.
    """
    differ = won + lost
    if won - lost <= max(limit * n, 1) or limit * n >= differ:
        return False
    return binomial_tail(int(won), int(differ), (1 + limit * n / differ) / 2) < ONE_SIDED


def needed_net(figures: Mapping[str, float]) -> int:
    """Return about how many images, of which the same shares were won and lost, would certainly exceed 8 %."""
    among = images = int(figures["among"])
    while images < MOST_NEEDED:
        images += max(1, images // 20)
        if exceeds_net(figures["won"] * images // among, figures["lost"] * images // among, images, STRONGER[0]):
            break
    return images


def weighed(count: float, n: float, limits: tuple[float, float], worst: Status = "invalid") -> Status:
    """Return what a share says: ``skipped`` if it is above the first limit, but not certainly.

    Args:
        count: images at fault.
        n: images looked at.
        limits: the shares above which the row is SUSPECT and INVALID.
        worst: ``suspect`` if nothing that is seen makes the row INVALID.
    """
    if n <= 0 or count <= limits[0] * n:
        return "pass"
    if not exceeds(count, n, limits[0]):
        return "skipped"
    return worst if exceeds(count, n, limits[1]) else "suspect"


def confirmed(status: Status, count: float, doubtful: bool, enough: float = 2) -> Status:
    """Return what a share says of a number that is doubted, as that of one step alone: so many images are enough."""
    return "suspect" if doubtful and status == "skipped" and math.floor(count + 1e-9) >= enough else status


def too_few(count: float, n: float, limit: float, more: str = "--n") -> str:
    """Return the sentence of a share that is above its limit on too few images to accuse anybody."""
    return (
        f"Not enough images: {count:g} of {n:g} are more than {limit:.0%}, but on so few that may be chance. About "
        f"{needed(count, n, limit):,} would tell ({more})."
    )


def share(
    name: str,
    count: int,
    n: int,
    limits: tuple[float, float],
    good: str,
    bad: str,
    *,
    threshold: str = "",
    worst: Status = "invalid",
    more: str = FEWER,
) -> Check:
    """Return the entry of a check on ``count`` of ``n`` images looked at, by the one rule of this module."""
    threshold = threshold or f"<= {limits[0]:.0%} of the images tried"
    status = weighed(count, n, limits, worst)
    texts = {"pass": good, "skipped": too_few(count, n, limits[0], more) if status == "skipped" else ""}
    mild = worst == "suspect"
    said = texts.get(status, bad)
    return check(name, status, count / max(n, 1), threshold, n, said, {"count": count, "among": n, "mild": mild})


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
    doubtful: bool = False,
    enough: int = 2,
    dear: str = "",
    **figures: float,
) -> Check:
    """Return the entry of a check: ``won`` of ``tried`` images fell that the attacks on this model left standing.

    ``doubtful`` is a number that needs to be confirmed: more than the limit makes it SUSPECT on few images too, if at
    least ``enough`` of them fell.
    ``dear`` says why nothing was tried although images stand, and how many would be needed.

    What is limited is a share of all ``n`` images. To try a part of the ``standing`` ones is to look at that part of
    all images, of which the others are lost already.
    """
    threshold = f"<= {limits[0]:.0%} of the images"
    if not tried:
        dear = dear or "Not tried: it climbs a gradient, and there is none that it can use."
        return skip(name, threshold, "No image was left standing to be tried." if not standing else dear)
    counts = {"won": won, "tried": tried, "standing": standing, "of": n, "mild": worst == "suspect", **figures}
    if doubtful:
        counts |= {"doubtful": True, "enough": enough}
    among = looked_at(tried, standing, n)
    status = confirmed(weighed(won, among, limits, worst), won, doubtful, enough)
    meaning = good if status == "pass" else bad
    if status == "skipped":
        more = "--n" if tried >= standing else "--n, --gate-images or --gate-cost"
        meaning = too_few(won, round(among), limits[0], more)
    return check(name, status, won / among, threshold, tried, meaning, counts)


def looked_at(tried: float, standing: float, n: float) -> float:
    """Return of how many of ``n`` images is known whether they fall, if ``tried`` of the ``standing`` were tried."""
    return n * tried / standing
