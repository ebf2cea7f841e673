"""What the cells of a group say about each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from robench.contracts.components import Attack, Defense
from robench.evidence.card import Check
from robench.evidence.check_verdict import TOLERATED, check, skip, zero
from robench.evidence.compound_rules import FALLING, FALLS, fell
from robench.evidence.cross_cell_checks import (
    CHANCE,
    DEARER,
    MUCH_DEARER,
    TRANSFER,
    dearer_check,
    declared_check,
    falls_check,
    not_attacked_check,
    transfer_check,
)
from robench.evidence.statistics import wilson
from robench.gate.measurement import Measurement
from robench.gate.worst_case import climbers, end_to_end, of_same_model, won_over
from robench.plan.cell import type_of

#: Images on which the gate's own attack has to win nothing before the attack that is judged is not said to fail, and
#: before it is said to work, if it does so without bounds.
TOLD, SURE = 2, 4
MADE_ELSEWHERE = "The images were made elsewhere, for one model: what they do to another says nothing."


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
    return _same_again(
        measured, "re-score from disk", "rescored",
        "The plain model answers the stored images as they were scored.",
        "The plain model, in other batches, answers stored images differently: predictions depend on batch-mates, "
        "on randomness, on what was asked before, or on the inference rewrites.",
    )  # fmt: skip


def clean_again(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that clean images are answered after all attacks as they were before."""
    return _same_again(
        measured, "clean answers again", "clean again",
        "After crafting and probing, clean images are answered as they were before.",
        "After crafting and probing, clean images are answered otherwise than before: the model that was attacked is "
        "not the one whose clean accuracy is stated. Keep nothing from one query to the next.",
    )  # fmt: skip


def _same_again(measured: Measurement, name: str, probe: str, good: str, bad: str) -> Check:
    found: Mapping[str, Any] = measured.probes[probe]
    if not found["n"]:
        return skip(name, "= 0 images differ", measured.too_dear(probe))
    if not measured.fitted.training.randomized:
        return zero(name, found["differ"], "images differ", found["n"], good, bad)
    low, high = wilson(round(found["scored"] * found["n"]), found["n"])
    gap = abs(found["rate"] - found["scored"])
    fault = gap > (high - low) + 1 / max(found["n"], 1)
    return check(name, "invalid" if fault else "pass", gap, "within chance", found["n"], bad if fault else good)


def falls(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """See that the same attack works where there is no defense."""
    if measured.cell.threat.eps == 0:
        return skip(FALLS, FALLING, "There is nothing to fall under at eps = 0.")
    if measured.made_elsewhere:
        return skip(FALLS, FALLING, MADE_ELSEWHERE)
    undefended = [other for other in group if other.cell.undefended and not other.transfer]
    same = [other for other in undefended if other.attack_key == measured.attack_key]
    if not same:
        return not_attacked_check()
    control = same[0]
    row = [other for other in undefended if other.defended_victim == control.defended_victim]
    others = any(fell(*_changed(other)) for other in row if other is not control)
    return falls_check(measured.attack_name, _control_figures(control, others))


def _changed(measured: Measurement) -> tuple[int, int]:
    """Return how many images fell, and how many rose."""
    clean, robust = measured.clean.correct, measured.robust.correct
    return int((clean & ~robust).sum()), int((~clean & robust).sum())


def _control_figures(control: Measurement, others: bool) -> dict[str, int]:
    """Return what tells whether an attack works on the undefended victim, without bounds too."""
    lost, gained = _changed(control)
    figures = {"control": int(control.clean.correct.sum()), "lost": lost, "gained": gained, "others": int(others)}
    figures["of"] = control.n
    effort, strength = control.probes["effort"], control.model_probes["strength"]
    if not effort["climbs"] or strength["stronger"]["n"] < TOLD:
        return figures
    if any(strength[name]["won"] for name in ("one_step", "stronger", "tiles", "queries", "noise")):
        return figures
    # Nothing of the gate's own wins at the cell's radius: if the model holds there, that is no failure of the attack.
    sweep = effort["sweep"] if effort["tried"] else effort.get("alone", {"n": 0})
    if not sweep["n"] or ("unbounded" in sweep and strength["stronger"]["n"] < SURE):
        return figures | {"untried": 1}
    if "unbounded" not in sweep:  # the attack refuses that radius
        return figures
    return figures | {"swept": sweep["n"], "unbounded": sweep["unbounded"]}


def dearer(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """Let an attack win what a much cheaper one wins: FGSM >= PGD >= APGD >= AutoAttack."""
    attack: Attack = type_of(measured.cell.attack, Attack)
    rivals = [
        other
        for other in of_same_model(measured, group)
        if not (other.transfer or other.made_elsewhere or other is measured)
        and sum(type_of(other.cell.attack, Attack).passes()) * MUCH_DEARER <= sum(attack.passes())
    ]
    if measured.transfer or attack.queries_only or not rivals:
        why = "No white-box attack of a quarter of its passes was run on this model."
        return skip(DEARER, f"<= {TOLERATED:.0%} of the images", why)
    climbing = [other for other in climbers(measured, group) if other not in rivals]
    won = {rival.attack_name: won_over(climbing, [rival]) for rival in rivals}
    return dearer_check(won, measured.attack_name, measured.n)


def transfer(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """Let no image that survives end to end fall to one crafted on another model."""
    same = of_same_model(measured, group)
    white, black = end_to_end(same), [other for other in same if other.transfer]
    if not white or not black:
        why = "Needs a white-box and a transfer attack on this model (--surrogate self)."
        return skip(TRANSFER, f"<= {TOLERATED:.0%} of the images", why)
    defense: Defense = type_of(measured.cell.defense, Defense)
    return transfer_check(won_over(white, black), measured.n, gradient=defense.gradient)


def declared(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """See that what counts for the declared kind of gradient was evaluated."""
    training = measured.fitted.training
    same = [other for other in of_same_model(measured, group) if not other.made_elsewhere]
    return declared_check(
        training.gradient,
        measured.robust.draws if training.randomized else None,
        undefended=measured.cell.undefended,
        asked=any(type_of(other.cell.attack, Attack).queries_only for other in end_to_end(same)),
        through=bool(end_to_end(same)),
        static=any(other.cell.by_self for other in same),
    )
