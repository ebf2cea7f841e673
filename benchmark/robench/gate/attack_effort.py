"""Would more of the same attack give another result?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from robench.contracts.components import Attack
from robench.contracts.threat_model import ThreatModel
from robench.evidence.card import Check
from robench.evidence.check_rules import LOST, SHARES
from robench.evidence.check_verdict import FEWER, check, lost, share, skip, too_few
from robench.evidence.compound_rules import CONVERGED, EPS, MOVING, RISING, STILL_MOVING
from robench.evidence.compound_rules import converged as weigh_convergence
from robench.evidence.compound_rules import falls_with_eps as weigh_growth
from robench.evidence.compound_rules import fell as works
from robench.gate.measurement import Measurement
from robench.gate.pass_budget import Exhausted
from robench.gate.probe_context import AttackContext
from robench.runtime.out_of_memory import is_out_of_memory

#: Share of all images that twice the steps, or another seed, may win.
MORE = LOST["more steps"][0]
#: Share of the tried images that may stand when only the box holds the attack: one or two by a bad start.
WITHSTANDING = SHARES["unbounded attack"].limits[0]
#: An Linf radius at which any image can be turned into any other's grey: nothing may be recognised there.
BLINDING = 0.5
IMAGES = 16
#: Images on which it is seen without bounds whether an attack works that hardly moved anything, where no other radius
#: is tried: if all four fall, the exact interval lies above the quarter that has to.
ALONE = 4


def probe(probed: AttackContext) -> dict[str, Any]:
    """Return what the judged attack wins with another seed, twice the steps, at other radii and without bounds."""
    found: dict[str, Any] = {"tried": False, "climbs": probed.climbs}
    threat = probed.context.task.threat
    if not probed.climbs or threat.eps == 0 or threat.norm == "corruption":
        return found
    if not probed.context.level.sweep:
        return found if _moved(probed) else found | {"alone": _without_bounds(probed)}
    found["tried"] = True
    sweep = _Sweep(probed)
    sweep.at("unbounded", "blinding")  # what works wins there within a few steps
    found["again"] = _on_survivors(probed, probed.attack, 1, "again")
    doubled = twice(probed.attack)
    found["double"] = _on_survivors(probed, doubled, 2, "double") if doubled is not None else {"n": 0, "won": 0}
    sweep.at("half", "double")
    found["sweep"] = sweep.found()
    return found


def _moved(probed: AttackContext) -> bool:
    """Tell whether the attack was seen to work at the cell's own radius."""
    clean, stands = probed.context.clean, probed.survivors
    return works(int((clean & ~stands).sum()), int((~clean & stands).sum()))


def _without_bounds(probed: AttackContext) -> dict[str, Any]:
    """Return what a few images do without bounds, where a level tries no other radius.

    What works wins there within a few steps, so it is begun without passes for all of them.
    """
    context = probed.context
    threat = context.task.threat
    rows = context.some(context.clean, ALONE, "sweep")
    whole = ThreatModel(threat.norm, radii(threat, context.test.shape)["unbounded"], threat.access)
    try:
        fell = _fallen_at(probed, whole, rows)
    except Exhausted:
        return {"n": 0}
    except Exception as error:  # nobody asked for this radius: an attack that refuses it is not at fault
        if is_out_of_memory(error):
            raise
        return {"n": len(rows)}
    return {"n": len(rows), "unbounded": len(rows) - sum(fell)}


def twice(attack: Attack) -> Attack | None:
    """Return the attack with twice the steps, if it has a parameter of that name."""
    for name in ("steps", "iterations", "num_steps", "n_iter"):
        value = attack.parameters.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return dataclasses.replace(attack, **{name: 2 * value})
    return None


def _on_survivors(probed: AttackContext, attack: Attack, factor: int, word: str) -> dict[str, int]:
    context = probed.context
    count = probed.budget.images(
        word, factor * probed.cost + context.verdict, min(context.level.images, int(probed.survivors.sum()))
    )
    rows = context.some(probed.survivors, count, word)
    found = {"n": 0, "won": 0}
    for images, labels, indices in context.batches(rows):
        task = context.task.fork(word).replace(indices=indices)
        try:
            moved = task.threat.project(images, probed.move(images, labels, task, attack, patience=factor))
        except Exhausted:
            break
        found["n"] += len(images)
        found["won"] += int(context.wrong(moved, labels).sum())
    return found


class _Sweep:
    """Attack a few clean-correct images at one radius after another, as long as the passes last."""

    def __init__(self, probed: AttackContext) -> None:
        context = probed.context
        self.probed = probed
        self.cost = probed.cost + context.verdict
        count = probed.budget.images("sweep", self.cost, min(IMAGES, int(context.clean.sum())))
        self.rows = context.some(context.clean, count, "sweep")
        self.fell = {"own": [not bool(probed.survivors[row]) for row in self.rows]}

    def at(self, *names: str) -> None:
        """Attack at these radii, those of them that there are."""
        threat = self.probed.context.task.threat
        tried = radii(threat, self.probed.context.test.shape)
        for name in names:
            if name not in tried or len(self.rows) * self.cost > self.probed.budget.left:
                continue
            try:
                at = ThreatModel(threat.norm, tried[name], threat.access)
                self.fell[name] = _fallen_at(self.probed, at, self.rows)
            except Exhausted:
                return
            except Exception as error:  # nobody asked for this radius: an attack that refuses it is not at fault
                if is_out_of_memory(error):
                    raise

    def found(self) -> dict[str, Any]:
        """Return, per radius, how many images stand, and how many fall at a smaller one only."""
        order = [name for name in ("half", "own", "double", "blinding") if name in self.fell]
        rising = sum(
            any(self.fell[low][row] and not self.fell[high][row] for low, high in pairwise(order))
            for row in range(len(self.rows))
        )
        standing = {name: len(self.rows) - sum(flags) for name, flags in self.fell.items()}
        return {"n": len(self.rows), "rising": rising, **standing}


def _fallen_at(probed: AttackContext, threat: ThreatModel, rows: list[int]) -> list[bool]:
    fell: list[bool] = []
    for images, labels, indices in probed.context.batches(rows):
        task = probed.context.task.replace(indices=indices, threat_model=threat)
        moved = threat.project(images, probed.move(images, labels, task))
        fell += probed.context.wrong(moved, labels).tolist()
    return fell


def radii(threat: ThreatModel, shape: tuple[int, int, int]) -> dict[str, float]:
    """Return the radii that are tried in addition to the cell's own; a parameter check refuses none of them."""
    size = math.prod(shape)
    largest = {"Linf": 1.0, "L2": math.sqrt(size), "L1": float(size), "L0": float(size // shape[0])}
    whole = (largest | {"patch": float(max(shape[1:]))})[threat.norm]
    half = threat.eps // 2 if threat.norm == "patch" else threat.eps / 2
    found = {"half": half, "double": min(2 * threat.eps, whole), "unbounded": whole}
    if threat.norm == "Linf":
        found["blinding"] = BLINDING
    return found


def more(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """See that twice the steps, or another random start, change little."""
    name, found = "more steps", measured.probes["effort"]
    if not found["tried"]:
        return skip(name, f"<= {MORE[0]:.0%} of the images", "Not part of --gate quick, or not an iterative attack.")
    which = max(("again", "double"), key=lambda key: found[key]["won"] / max(found[key]["n"], 1))
    part, what = found[which], {"again": "another seed", "double": "twice the steps"}[which]
    standing = int(measured.robust.correct.sum())
    return lost(
        name, part["won"], part["n"], standing, measured.n,
        "Another seed and twice the steps win little more.",
        f"With {what}, {measured.attack_name} wins {part['won']} of {part['n']} images that it left standing: it has "
        "not converged. Give it more steps or restarts.",
        limits=MORE,
        worst="suspect",
        dear=measured.too_dear(which),
    )  # fmt: skip


def converged(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that the loss no longer rises at the end (indicator I4), where twice the steps confirm it."""
    trace, effort = measured.probes["trace"], measured.probes["effort"]
    if not trace["n"]:
        threshold = f"<= {MOVING:.0%} of the rise in the last 10 iterates"
        why = measured.too_dear("trace") or "No path was recorded: nothing iterative, or no robust image."
        return skip(CONVERGED, threshold, why)
    moving, n, standing = trace["moving"], trace["n"], int(measured.robust.correct.sum())
    double = effort["double"] if effort["tried"] else {"n": 0, "won": 0}
    figures = {"moving": moving, "among": n, "won": double["won"], "tried": double["n"]}
    figures |= {"standing": standing, "of": measured.n}
    found = weigh_convergence(figures)
    meaning = "The loss has levelled off where it was recorded, or more steps win nothing."
    if found.status == "suspect":
        meaning = (
            f"On {moving} of {n} images the loss still rises at the end, and twice the steps win more: the attack "
            "stopped too early. Give it more steps."
        )
    elif found.status == "skipped":
        meaning = too_few(moving, n, STILL_MOVING, FEWER)
    return check(CONVERGED, found.status, found.value, found.threshold, n, meaning, figures)


def falls_with_eps(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that a larger ball never helps the model, and that a blinding one leaves it at chance."""
    threshold, effort = "monotone, and at chance at eps = 0.5", measured.probes["effort"]
    if not effort["tried"] or not effort["sweep"]["n"]:
        why = measured.too_dear("sweep") or "Not part of --gate quick, or not an iterative attack."
        return skip(EPS, threshold, why)
    sweep, classes = effort["sweep"], len(measured.data.classes)
    if not {"half", "double", "blinding"} & set(sweep):
        return skip(EPS, threshold, "No other radius was tried: too dear, or refused by the attack.")
    n, figures = sweep["n"], {"rising": sweep["rising"], "among": sweep["n"], "classes": classes}
    figures |= {"blinding": sweep["blinding"]} if "blinding" in sweep else {}
    found = weigh_growth(figures)
    count, limit = figures[found.by], RISING if found.by == "rising" else 1 / classes
    meaning = "Accuracy falls as the ball grows, to chance or below."
    if found.status == "skipped":
        meaning = too_few(count, n, limit, FEWER)
    elif found.status == "suspect" and found.by == "rising":
        meaning = f"{count} of {n} images fall at a smaller eps and stand at a larger one: the attack is led astray."
    elif found.status == "suspect":
        meaning = (
            f"At eps = 0.5, where no image can be recognised, {count} of {n} images are still answered right (chance: "
            f"{limit:.0%}): the attack or its gradients fail."
        )
    return check(EPS, found.status, found.value, found.threshold, n, meaning, figures)


def unbounded(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that the attack wins everything when only the box holds it (indicator I6)."""
    name, threshold = "unbounded attack", f"<= {WITHSTANDING:.0%} of the images tried"
    found = measured.probes["effort"]
    if not found["tried"] or not found["sweep"]["n"] or "unbounded" not in found["sweep"]:
        none = "Not part of --gate quick, or not an attack that is iterated without bounds within its share of passes."
        return skip(name, threshold, measured.too_dear("sweep") or none)
    standing, n = found["sweep"]["unbounded"], found["sweep"]["n"]
    return share(
        name, standing, n, (WITHSTANDING, 1.0),
        "Without bounds the attack wins.",
        f"{standing} of {n} images withstand {measured.attack_name} even when every pixel may take any value "
        "(indicator I6): the attack does not work on this model.",
        worst="suspect",
    )  # fmt: skip
