"""What the cells of a group say about each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from robench.contracts.components import Attack, Defense
from robench.evidence.card import Check
from robench.evidence.statistics import wilson
from robench.gate.measurement import Measurement
from robench.gate.verdict import INTOLERABLE, TOLERATED, check, lost, skip, zero
from robench.gate.worst_case import CHANCE, climbers, end_to_end, of_same_model, won_over
from robench.plan.cell import type_of

#: An attack this many times dearer than another has to win what the cheaper one wins.
DEARER = 4


def not_above_clean(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that no image is right under attack that was wrong without."""
    name = "robust <= clean"
    if measured.transfer:
        return skip(name, "= 0 images", "A transferred image may by chance be answered right; that proves nothing.")
    if measured.fitted.training.randomized:
        gap = measured.robust.mean - measured.clean.mean
        # Two means of n * draws answers differ by a standard error of at most sqrt(1 / (2 n draws)).
        limit = 0.02 + CHANCE / math.sqrt(2 * measured.n * measured.robust.draws)
        fault = gap > limit
        meaning = (
            "The mean accuracy under attack is above the clean one: the attack helps."
            if fault
            else "The mean accuracy under attack is not above the clean one."
        )
        return check(name, "invalid" if fault else "pass", gap, f"<= {limit:.1%} of the images", measured.n, meaning)
    gained = int((measured.robust.correct & ~measured.clean.correct).sum())
    return zero(
        name, gained, "images", measured.n,
        "No image is right under attack that was wrong without.",
        "Images that were wrong clean, and were left as they are, are now answered right: the model is not "
        "deterministic.",
    )  # fmt: skip


def rescored(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that stored images are answered as they were scored."""
    found, name = measured.probes["rescored"], "re-score from disk"
    if measured.fitted.training.randomized:
        low, high = wilson(round(measured.robust.mean * measured.n), measured.n)
        slack = (high - low) / 2
        gap = abs(found["rate"] - found["scored"])
        fault = gap > 2 * slack + 1 / max(found["n"], 1)
        meaning = (
            "Asked again, a randomized defense gives another mean accuracy than was scored, beyond chance."
            if fault
            else "Asked again, the randomized defense gives the same mean accuracy within chance."
        )
        return check(name, "invalid" if fault else "pass", gap, "within chance", found["n"], meaning)
    return zero(
        name, found["differ"], "images differ", found["n"],
        "The plain model answers the stored images as they were scored.",
        "The plain model, in other batches, answers stored images differently: predictions depend on batch-mates, "
        "on randomness, on what was asked before, or on the inference rewrites.",
    )  # fmt: skip


def falls(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """See that the same attack works where there is no defense."""
    name, threshold = "undefended victim falls", "significantly more images fall than rise"
    if measured.cell.threat.eps == 0:
        return skip(name, threshold, "There is nothing to fall under at eps = 0.")
    undefended = [other for other in group if other.cell.undefended and not other.transfer]
    same = [other for other in undefended if other.attack_key == measured.attack_key]
    if not same:
        return check(
            name, "suspect", None, threshold, 0,
            "The undefended victim was not measured under this attack, so nobody knows whether the attack works; run "
            "it with the defense 'none'.",
        )  # fmt: skip
    clean, robust = same[0].clean.correct, same[0].robust.correct
    fell = _fell(same[0])
    others = [
        other for other in undefended if other.defended_victim == same[0].defended_victim and other is not same[0]
    ]
    if not fell and any(_fell(other) for other in others):
        return skip(name, threshold, "A control: other attacks do work there, and the headline comes from those.")
    meaning = (
        "The attack works where there is no defense."
        if fell
        else f"{measured.attack_name} hardly moves the undefended victim (clean {float(clean.float().mean()):.1%}, "
        f"attacked {float(robust.float().mean()):.1%}), so it cannot show what a defense is worth: more steps, another "
        "step size, a larger eps or more images."
    )
    return check(name, "pass" if fell else "suspect", float(robust.float().mean()), threshold, len(robust), meaning)


def _fell(measured: Measurement) -> bool:
    """Tell whether attacked images fell more often than they rose: a 99 % score test on the pairs that differ."""
    clean, robust = measured.clean.correct, measured.robust.correct
    lost, gained = int((clean & ~robust).sum()), int((~clean & robust).sum())
    return lost + gained > 0 and wilson(lost, lost + gained, 0.99)[0] > 0.5


def dearer(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """Let an attack win what a much cheaper one wins: FGSM >= PGD >= APGD >= AutoAttack."""
    name, threshold = "cheaper attack <= dearer", f"<= {TOLERATED:.0%} of the images"
    attack: Attack = type_of(measured.cell.attack, Attack)
    rivals = [
        other
        for other in of_same_model(measured, group)
        if not other.transfer and sum(type_of(other.cell.attack, Attack).passes()) * DEARER <= sum(attack.passes())
    ]
    if measured.transfer or attack.queries_only or not rivals:
        return skip(name, threshold, "No white-box attack of a quarter of its passes was run on this model.")
    climbing = [other for other in climbers(measured, group) if other not in rivals]
    won = {rival.attack_name: won_over(climbing, [rival]) for rival in rivals}
    best = max(won, key=lambda key: won[key])
    return lost(
        name, won[best], measured.n, measured.n, measured.n,
        "It wins what much cheaper attacks win, within tolerance.",
        f"{won[best]} images survive {measured.attack_name} but fall to {best}, which takes a quarter of the passes or "
        "fewer: the dearer attack does not work on this model.",
        worst="suspect",
        chance=measured.robust.draws > 1,
    )  # fmt: skip


def transfer(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """Let no image that survives end to end fall to one crafted on another model."""
    name, threshold = "transfer <= white-box", f"<= {TOLERATED:.0%} of the images"
    same = of_same_model(measured, group)
    white, black = end_to_end(same), [other for other in same if other.transfer]
    if not white or not black:
        return skip(name, threshold, "Needs a white-box and a transfer attack on this model (--surrogate self).")
    won = won_over(white, black)
    declared: Defense = type_of(measured.cell.defense, Defense)
    blind = declared.gradient == "none"
    return lost(
        name, won, measured.n, measured.n, measured.n,
        "What survives the white-box attack survives transfer too, within tolerance.",
        f"{won} images survive every white-box attack but fall to one crafted on another model: the white-box attack "
        "is too weak, or the defense masks its gradients.",
        # Without gradients transfer is one of the attacks that count: it is in the headline, and accuses nobody.
        limits=(1.0, 1.0) if blind else (TOLERATED, INTOLERABLE),
        chance=measured.robust.draws > 1,
    )  # fmt: skip


def declared(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """See that what counts for the declared kind of gradient was evaluated."""
    name, threshold = "declared gradient", "what counts was evaluated"
    training, same = measured.fitted.training, of_same_model(measured, group)
    asked = any(type_of(other.cell.attack, Attack).queries_only for other in end_to_end(same))
    through = bool(end_to_end(same))
    static = any(other.cell.by_self for other in same)
    missing = []
    if training.gradient == "none" and not asked:
        missing.append("an attack by queries (--attack square)")
    if training.gradient != "none" and not through:
        missing.append("a white-box attack")
    if (training.gradient != "exact" or training.randomized) and not static and not measured.cell.undefended:
        missing.append("transfer from the undefended victim (--surrogate self)")
    how = {
        "exact": "end to end",
        "straight-through": "through the declared straight-through path (BPDA), whose forward is the defense's",
        "none": "by queries and by transfer, since it declares no gradient",
    }[training.gradient]
    draws = f", in expectation over {measured.robust.draws} draws (EOT)" if training.randomized else ""
    meaning = (
        f"Missing: {' and '.join(missing)}; without it this number says little about the defense."
        if missing
        else f"Attacked {how}{draws}."
    )
    return check(name, "suspect" if missing else "pass", len(missing), threshold, 0, meaning)


def path(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """Hold the forward of the straight-through path to that of the defense."""
    name, found = "straight-through path", measured.model_probes["path"]
    if not found["n"]:
        return skip(name, "= 0 images differ", "The defense declares no straight-through path.")
    return zero(
        name, found["differ"], "images differ", found["n"],
        "The straight-through path answers as the defense does.",
        "The straight-through path (Defense.adaptive) answers other than the defense itself: attacks were led through "
        "another model. Its forward must be the defense's; only its backward may be an approximation.",
    )  # fmt: skip
