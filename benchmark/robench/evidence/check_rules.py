"""How each check of the gate is weighed: from figures to a status, by one rule for the gate and for who reads a card.

A card holds, per check, the figures that it weighs. So a status, a value or a threshold that was written into a card by
hand is found without running anything: the figures say otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from robench.evidence.card import Status
from robench.evidence.statistics import proportion, wilson

Figures = Mapping[str, float]

#: Share of all images that a weaker attack may win over a stronger one: above, SUSPECT; far above, INVALID.
TOLERATED, INTOLERABLE = 0.01, 0.05
#: Share of all images that a stronger attack may win. From PGD to AutoAttack honest adversarial training loses 0.5 to
#: 3.5 points on CIFAR-10, and 5.4 here (PGD-20 to APGD, TeCoA on digits); masked defenses lose 11 (TGA-ZSR) to all.
STRONGER = (0.08, 0.20)
#: Share of all images that twice the steps, or another seed, may win.
MORE = (0.02, 0.10)
#: Share of the test images that may lie in the training split, bit by bit: above, SUSPECT; far above, INVALID.
LEAKED = (0.01, 0.05)
#: Share of test images that may be copies of others.
COPIES = 0.05
#: Share of test images of which the training split may hold a near copy; CIFAR-100, with 1 in 10 by a wider measure,
#: must not be accused.
NEAR = 0.10
#: Share of the classes, of those that n images drawn at random would show, that must be there.
SHOWN = 0.4
#: A relabelling that explains the answers by this much better means that the class order is wrong.
RELABELLED = 0.20
#: Largest share of images that may have no gradient at all, one that is not true, or one along which nothing changes.
MOST_BLIND, MOST_UNTRUE, MOST_STUCK = 0.05, 0.25, 0.25
#: Attack success on planted examples that a working attack reaches (Zimmermann et al. 2022).
WORKS = 0.95
#: Relative change of the loss from which a landscape counts as unstable.
UNSTABLE = 0.10
#: Share of the tried images that may stand at a larger radius though they fell at a smaller one.
RISING = 0.10
#: I4: the loss still moves by more than this share of its whole rise over the last iterates.
MOVING = 0.05
#: Standard errors by which the answers to two sets of images must differ where they are random (99 %).
CHANCE = 2.6


class Weighed(NamedTuple):
    """Say what figures come to."""

    status: Status
    value: float | None
    threshold: str
    n: int


Rule = Callable[[Figures], Weighed]


def plain(figures: Figures) -> dict[str, float]:
    """Return figures as a card holds them: whole numbers as such, others to nine digits."""
    return {name: int(value) if isinstance(value, int) else round(float(value), 9) for name, value in figures.items()}


def weigh_lost(figures: Figures, limits: tuple[float, float], worst: Status = "invalid") -> Weighed:
    """Weigh ``won`` of ``tried`` images that fell, of ``standing``, among all images (``of``).

    Where all ``standing`` images were tried, the share of all is known exactly; else, and where the answers are left to
    ``chance``, the lower end of its 95 % interval counts, and a single image accuses nobody.
    """
    threshold = f"<= {limits[0]:.0%} of the images"
    tried = int(figures["tried"])
    if not tried:
        return Weighed("skipped", None, threshold, 0)
    won, standing, n = figures["won"], figures["standing"], figures["of"]
    sampled = bool(figures["chance"]) or tried < standing
    certain = (wilson(won, tried)[0] if won > 1 else 0.0) if sampled else won / tried
    share = certain * standing / n
    status: Status = "invalid" if share > limits[1] else "suspect" if share > limits[0] else "pass"
    return Weighed(worst if status == "invalid" else status, won / tried * standing / n, threshold, tried)


def _lost(limits: tuple[float, float] = (TOLERATED, INTOLERABLE), worst: Status = "invalid") -> Rule:
    return lambda f: weigh_lost(f, limits, worst)


def _probed(limits: tuple[float, float] = (TOLERATED, INTOLERABLE)) -> Rule:
    # Where nothing but single steps was tried, what falls shows weak evidence and not a broken attack.
    return lambda f: weigh_lost(f, limits, "suspect" if f.get("one_step_only") else "invalid")


def _transfer(f: Figures) -> Weighed:
    # Without gradients transfer is one of the attacks that count: it is in the headline, and accuses nobody.
    limits = (1.0, 1.0) if f.get("gradientless") else (TOLERATED, INTOLERABLE)
    if not f["tried"]:  # what was not tried is not known to be gradientless
        limits = (TOLERATED, INTOLERABLE)
    return weigh_lost(f, limits)


def _zero(unit: str, skipped: Callable[[Figures], bool] = lambda f: False) -> Rule:
    def rule(f: Figures) -> Weighed:
        if skipped(f):
            return Weighed("skipped", None, f"= 0 {unit}", 0)
        return Weighed("invalid" if f["count"] else "pass", f["count"], f"= 0 {unit}", int(f["n"]))

    return rule


def _randomized(f: Figures) -> bool:
    return bool(f["randomized"])


def _limited(threshold: str, count: str, most: float, far: float | None, total: str = "tried") -> Rule:
    """Return the rule of a share that may be at most ``most``: above, SUSPECT; above ``far``, INVALID."""

    def rule(f: Figures) -> Weighed:
        n = int(f[total])
        if not n or f.get("unclaimed") or f.get("eps") == 0:
            return Weighed("skipped", None, threshold, 0)
        share = f[count] / n
        worse: Status = "invalid" if far is not None and share > far else "suspect"
        return Weighed("pass" if share <= most else worse, share, threshold, n)

    return rule


def _moved(f: Figures) -> Weighed:
    threshold = "< 100% of the attacked images unmoved"
    if not f["attacked"] or f["eps"] == 0:
        return Weighed("skipped", None, threshold, 0)
    idle, attacked = f["unmoved"] == f["attacked"], int(f["attacked"])
    return Weighed("invalid" if idle else "pass", f["unmoved"] / attacked, threshold, attacked)


def _asked(f: Figures) -> Weighed:
    threshold = ">= 1 pass an attacked image"
    if not f["attacked"] or not f["iterative"] or f["eps"] == 0:
        return Weighed("skipped", None, threshold, 0)
    share = f["passes"] / f["attacked"]
    return Weighed("invalid" if share < 1 else "pass", share, threshold, int(f["attacked"]))


def _deterministic(f: Figures) -> Weighed:
    if f["randomized"]:
        return Weighed("pass" if f["count"] else "suspect", f["count"], "> 0 images differ", int(f["n"]))
    return _zero("images differ")(f)


def _rescored(f: Figures) -> Weighed:
    if not f["randomized"]:
        return _zero("images differ")(f)
    low, high = wilson(round(f["mean"] * f["of"]), int(f["of"]))
    gap, n = abs(f["rate"] - f["scored"]), int(f["n"])
    # Twice half the interval, and one image of those that were asked again.
    return Weighed("invalid" if gap > high - low + 1 / max(n, 1) else "pass", gap, "within chance", n)


def _not_above_clean(f: Figures) -> Weighed:
    if f["transfer"]:
        return Weighed("skipped", None, "= 0 images", 0)
    if not f["randomized"]:
        return _zero("images")({"count": f["gained"], "n": f["of"]})
    # Two means of n * draws answers differ by a standard error of at most sqrt(1 / (2 n draws)).
    limit = 0.02 + CHANCE / math.sqrt(2 * f["of"] * f["draws"])
    status: Status = "invalid" if f["gap"] > limit else "pass"
    return Weighed(status, f["gap"], f"<= {limit:.1%} of the images", int(f["of"]))


def _reference(f: Figures) -> Weighed:
    if "stated" not in f or not f["there"]:
        return Weighed("skipped", None, "within the stated interval", 0)
    stated, tolerance, n = f["stated"], f["tolerance"], int(f["images"])
    low, high = proportion(f["undefended_right"], n)
    good = low - tolerance <= stated <= high + tolerance
    threshold = f"{stated:.2%} within [{low:.2%}, {high:.2%}] +- {tolerance:.1%}"
    return Weighed("pass" if good else "suspect", f["undefended_right"] / n, threshold, n)


def chance_of(f: Figures) -> tuple[float, int]:
    """Return the accuracy of a guess, and the digits to print it with."""
    # Where no class has two images, none is the most frequent: that one of n classes is right once is hindsight.
    single = f["most"] == 1 < f["of"]
    chance = 1 / f["classes"] if single else f["most"] / f["of"]
    return chance, 1 if chance >= 0.01 else 2


def _above_chance(f: Figures) -> Weighed:
    chance, digits = chance_of(f)
    n = int(f["of"])
    good = f["most"] == n or wilson(f["right"], n)[0] > chance
    return Weighed("pass" if good else "suspect", f["right"] / n, f"> {chance:.{digits}%}", n)


def _classes_shown(f: Figures) -> Weighed:
    classes, n, present = int(f["classes"]), int(f["of"]), f["present"]
    at_random = classes * (1 - (1 - 1 / classes) ** n)
    least = max(1, int(SHOWN * at_random))
    # A few images may well be of one class.
    fault = classes > 1 and present <= least and classes ** (1.0 - min(n, 100)) < 1e-3
    return Weighed("suspect" if fault else "pass", present, f"> {least} classes", n)


def _class_order(f: Figures) -> Weighed:
    gain = (f["relabelled"] - f["explained"]) / f["of"]
    return Weighed("invalid" if gain > RELABELLED else "pass", gain, f"<= {RELABELLED:.0%} gained", int(f["of"]))


def _leakage(f: Figures) -> Weighed:
    share, threshold, n = f["shared"] / f["of"], f"<= {LEAKED[0]:.0%} of the test images", int(f["of"])
    if share > LEAKED[0]:
        return Weighed("invalid" if share > LEAKED[1] else "suspect", share, threshold, n)
    worst = f["alike"] if f["alike"] > NEAR else f["copies"] if f["copies"] > COPIES else None
    return Weighed("pass" if worst is None else "suspect", share if worst is None else worst, threshold, n)


def _gradients_present(f: Figures) -> Weighed:
    n = int(f["tried"])
    share = f["blind"] / max(n, 1)
    if f["gradientless"]:
        hidden = bool(f["possible"]) and share <= MOST_BLIND
        return Weighed("invalid" if hidden else "pass", 1 - share, "no gradient", n)
    return _limited(f"<= {MOST_BLIND:.0%} of the images tried", "blind", MOST_BLIND, 0.5)(f)


def _gradients_true(f: Figures) -> Weighed:
    return _limited(f"<= {MOST_UNTRUE:.0%} of the images tried", "untrue", MOST_UNTRUE, MOST_UNTRUE)(f)


def _logit_scale(f: Figures) -> Weighed:
    tried = int(f["tried"])
    fault = tried > 0 and f["blind"] / tried > MOST_BLIND
    return Weighed("suspect" if fault else "pass", f["blind"], "<= 5% of the images tried", tried)


def _declared(f: Figures) -> Weighed:
    return Weighed("suspect" if f["missing"] else "pass", f["missing"], "what counts was evaluated", 0)


def _falls(f: Figures) -> Weighed:
    threshold = "significantly more images fall than rise"
    if f.get("eps") == 0:
        return Weighed("skipped", None, threshold, 0)
    if not f["there"]:
        return Weighed("suspect", None, threshold, 0)
    if not f["works"] and f["beside"]:
        return Weighed("skipped", None, threshold, 0)
    n = int(f["images"])
    return Weighed("pass" if f["works"] else "suspect", f["undefended_robust"] / n, threshold, n)


def _step_size(f: Figures) -> Weighed:
    n = int(f["n"])
    if not n:
        return Weighed("skipped", None, "<= 50% of the paths", 0)
    worst = max(f["whole"] / n, f["short"] / n)
    return Weighed("suspect" if worst > 0.5 else "pass", worst, "<= 50% of the paths", n)


def _converged(f: Figures) -> Weighed:
    threshold, n = f"<= {MOVING:.0%} of the rise in the last 10 iterates", int(f["n"])
    if not n:
        return Weighed("skipped", None, threshold, 0)
    share = f["moving"] / n
    # One image of a few may fall by luck.
    more = f["double_won"] > 1 and f["double_won"] / f["double_n"] * (f["withstood"] / f["of"]) > TOLERATED
    return Weighed("suspect" if share > 0.5 and more else "pass", share, threshold, n)


def rises(f: Figures) -> bool:
    """Tell whether images fall at a smaller radius and stand at a larger one, beyond what is tolerated."""
    return wilson(f["rising"], int(f["n"]))[0] > RISING


def sees(f: Figures) -> bool:
    """Tell whether images are recognised where none can be."""
    return "blinding" in f and wilson(f["blinding"], int(f["n"]))[0] > 1 / f["classes"]


def _falls_with_eps(f: Figures) -> Weighed:
    threshold, n = "monotone, and at chance at eps = 0.5", int(f["n"])
    if not n:
        return Weighed("skipped", None, threshold, 0)
    value = max(f["rising"], f.get("blinding", 0)) / n
    return Weighed("suspect" if rises(f) or sees(f) else "pass", value, threshold, n)


def _unbounded(f: Figures) -> Weighed:
    n = int(f["n"])
    if not n:
        return Weighed("skipped", None, "= 0 images standing", 0)
    # One or two of a few may stand by a bad start; more is a broken attack.
    fault = wilson(f["left"], n)[0] > 0.05
    return Weighed("suspect" if fault else "pass", f["left"] / n, "= 0 images standing", n)


def _another_loss(f: Figures) -> Weighed:
    threshold, n = "<= 50% of the images tried", int(f["n"])
    if n < 4 or f["losses"] < 2:
        return Weighed("skipped", None, threshold, 0)
    gap = (f["best"] - f["least"]) / n
    return Weighed("suspect" if gap > 0.5 else "pass", gap, threshold, n)


def _stable(f: Figures) -> Weighed:
    threshold, n = f"<= {UNSTABLE:.0%} change", int(f["n"])
    if not n:
        return Weighed("skipped", None, threshold, 0)
    return Weighed("suspect" if f["change"] > UNSTABLE else "pass", f["change"], threshold, n)


def _binarization(f: Figures) -> Weighed:
    threshold, n = f">= {WORKS:.0%} found", int(f["n"])
    if not n:
        return Weighed("skipped", None, threshold, 0)
    return Weighed("suspect" if wilson(f["won"], n)[1] < WORKS else "pass", f["won"] / n, threshold, n)


#: Every check of the gate, in the order of the card.
RULES: Mapping[str, Rule] = {
    "box and ball": _zero("images"),
    "eps = 0": _zero("images moved"),
    "images moved": _moved,
    "model asked": _asked,
    "deterministic": _deterministic,
    "batch-mates": _zero("images differ", _randomized),
    "evaluation mode": _zero("modules"),
    "same answer while attacked": _zero("images differ", _randomized),
    "re-score from disk": _rescored,
    "robust <= clean": _not_above_clean,
    "reference clean accuracy": _reference,
    "above chance": _above_chance,
    "classes shown": _classes_shown,
    "class order": _class_order,
    "split leakage": _leakage,
    "trained parameters": _zero("tensors"),
    "gradients present": _gradients_present,
    "gradients true": _gradients_true,
    "gradients useful": _limited(f"<= {MOST_STUCK:.0%} of the images tried", "stuck", MOST_STUCK, 2 * MOST_STUCK),
    "logit scale": _logit_scale,
    "declared gradient": _declared,
    "straight-through path": _zero("images differ", lambda f: not f["n"]),
    "undefended victim falls": _falls,
    "step size": _step_size,
    "best iterate": _zero("images", lambda f: not f["n"] or bool(f["randomized"])),
    "converged": _converged,
    "more steps": _lost(MORE, "suspect"),
    "accuracy falls with eps": _falls_with_eps,
    "unbounded attack": _unbounded,
    "one step <= many steps": _lost(),
    "cheaper attack <= dearer": _lost(worst="suspect"),
    "transfer <= white-box": _transfer,
    "stronger attack": _probed(STRONGER),
    "another loss": _another_loss,
    "measured slopes <= gradients": _probed(),
    "queries <= gradients": _probed(),
    "noise <= gradients": _probed(),
    "stable loss": _stable,
    "binarization": _binarization,
}
