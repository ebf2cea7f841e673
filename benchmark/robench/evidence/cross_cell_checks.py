"""The checks that compare cells, as functions of counts: the gate counts on tensors, a reader on the bits of cards."""

from __future__ import annotations

from collections.abc import Mapping

from robench.evidence.card import Check
from robench.evidence.check_verdict import INTOLERABLE, TOLERATED, check, lost
from robench.evidence.compound_rules import FALLING, FALLS, undefended_falls

TRANSFER, DEARER = "transfer <= white-box", "cheaper attack <= dearer"
DECLARED, ONE_STEP = "declared gradient", "one step <= many steps"

#: An attack this many times dearer than another has to win what the cheaper one wins.
MUCH_DEARER = 4
#: Standard errors by which the answers to two sets of images must differ where they are random (99 %).
CHANCE = 2.6


def transfer_check(won: int, n: int, *, gradient: str) -> Check:
    """Let no image that survives end to end fall to one crafted on another model."""
    return lost(
        TRANSFER, won, n, n, n,
        "What survives the white-box attack survives transfer too, within tolerance.",
        f"{won} images survive every white-box attack but fall to one crafted on another model: the white-box attack "
        "is too weak, or the defense masks its gradients.",
        # Without gradients transfer is one of the attacks that count: it is in the headline, and accuses nobody.
        limits=(1.0, 1.0) if gradient == "none" else (TOLERATED, INTOLERABLE),
        gradientless=gradient == "none",
    )  # fmt: skip


def dearer_check(won: Mapping[str, int], attack: str, n: int) -> Check:
    """Let ``attack`` win what much cheaper ones win; ``won`` says of each how many images it wins alone."""
    best = min(won, key=lambda key: (-won[key], key))
    return lost(
        DEARER, won[best], n, n, n,
        "It wins what much cheaper attacks win, within tolerance.",
        f"{won[best]} images survive {attack} but fall to {best}, which takes a quarter of the passes or "
        "fewer: the dearer attack does not work on this model.",
        worst="suspect",
    )  # fmt: skip


def one_step_check(won: int, tried: int, standing: int, n: int, shown: int, attack: str, dear: str = "") -> Check:
    """Let one gradient step beat no iterative attack; ``dear`` says why it was not tried."""
    return lost(
        ONE_STEP, won, tried, standing, n,
        "One gradient step beats no image that the attack left standing, beyond tolerance.",
        f"{shown} images survive {attack} but fall to a single gradient step: its gradients or its step size are "
        "wrong, or the model masks gradients.",
        dear=dear,
    )  # fmt: skip


def not_attacked_check() -> Check:
    """Say that nobody knows whether the attack works where there is no defense."""
    return check(
        FALLS, "suspect", None, FALLING, 0,
        "The undefended victim was not measured under this attack, so nobody knows whether the attack works; run "
        "it with the defense 'none'.",
    )  # fmt: skip


def falls_check(attack: str, figures: Mapping[str, float]) -> Check:
    """See that ``attack`` works where there is no defense; the figures are those of ``undefended_falls``."""
    found, n, clean = undefended_falls(figures), int(figures["of"]), int(figures["control"])
    fallen = max(int(figures["lost"] - figures["gained"]), 0)
    meaning = {
        "works": "The attack works where there is no defense.",
        "others": "A control: other attacks do work there, and the headline comes from those.",
        "unbounded": "The undefended victim hardly falls at this radius, and to none of the gate's own attacks either. "
        f"That {attack} works is seen without bounds, where {figures.get('swept', 0) - figures.get('unbounded', 0):g} "
        f"of {figures.get('swept', 0):g} images fall to it.",
        "few": f"Not enough images: {fallen} of {clean} of the undefended victim fall to {attack}, which is neither "
        "certainly more than chance nor certainly few. Add --n.",
        "untried": f"Not enough passes to tell: {fallen} of {clean} of the undefended victim fall to {attack}, and "
        "none of those that the gate's own attacks tried. Either the victim holds at this radius or neither works. "
        "What happens without bounds would tell (--gate standard, --n or --gate-cost).",
        "hardly": f"{attack} hardly moves the undefended victim (clean {clean / n:.1%}, attacked "
        f"{found.value or 0:.1%}), so it cannot show what a defense is worth: more steps, another step size, a larger "
        "eps or more images.",
    }
    return check(FALLS, found.status, found.value, found.threshold, found.n, meaning[found.by], figures)


def declared_check(
    gradient: str,
    draws: int | None,
    *,
    undefended: bool,
    asked: bool,
    through: bool,
    static: bool,
) -> Check:
    """See that what counts for the declared kind of gradient was evaluated; ``draws`` of a randomized defense."""
    missing = []
    if gradient == "none" and not asked:
        missing.append("an attack by queries (--attack square)")
    if gradient != "none" and not through:
        missing.append("a white-box attack")
    if (gradient != "exact" or draws is not None) and not static and not undefended:
        missing.append("transfer from the undefended victim (--surrogate self)")
    how = {
        "exact": "end to end",
        "straight-through": "through the declared straight-through path (BPDA), whose forward is the defense's",
        "none": "by queries and by transfer, since it declares no gradient",
    }[gradient]
    expectation = "" if draws is None else f", in expectation over {draws} draws (EOT)"
    meaning = (
        f"Missing: {' and '.join(missing)}; without it this number says little about the defense."
        if missing
        else f"Attacked {how}{expectation}."
    )
    return check(DECLARED, "suspect" if missing else "pass", len(missing), "what counts was evaluated", 0, meaning)
