"""Would more of the same attack give another result?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from robench.budget import ThreatModel
from robench.case import Case
from robench.contracts import Attack
from robench.evidence.card import Check
from robench.evidence.statistics import wilson
from robench.gate.conduct import MOVING
from robench.gate.subject import Trial
from robench.gate.verdict import TOLERATED, check, lost, skip

#: Share of all images that twice the steps, or another seed, may win.
MORE = (0.02, 0.10)
#: Share of the tried images that may stand at a larger radius though they fell at a smaller one.
RISING = 0.10
#: An Linf radius at which any image can be turned into any other's grey: nothing may be recognised there.
BLINDING = 0.5
IMAGES = 16


def look(trial: Trial) -> dict[str, Any]:
    """Return what the judged attack wins with another seed, twice the steps, at other radii and without bounds."""
    found: dict[str, Any] = {"tried": False}
    iterative = trial.white_box and trial.attack.iterative and not trial.attack.queries_only
    if not (trial.subject.level.sweep and iterative) or trial.subject.task.threat.eps == 0:
        return found
    found["tried"] = True
    found["again"] = _on_survivors(trial, trial.attack, 1, "again")
    doubled = twice(trial.attack)
    found["double"] = _on_survivors(trial, doubled, 2, "double") if doubled is not None else {"n": 0, "won": 0}
    found["sweep"] = _sweep(trial)
    return found


def twice(attack: Attack) -> Attack | None:
    """Return the attack with twice the steps, if it has a parameter of that name."""
    for name in ("steps", "iterations", "num_steps", "n_iter"):
        value = attack.parameters.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return dataclasses.replace(attack, **{name: 2 * value})
    return None


def _on_survivors(trial: Trial, attack: Attack, factor: int, word: str) -> dict[str, int]:
    subject = trial.subject
    count = trial.purse.images(0.15, factor * trial.cost, subject.level.images)
    rows = subject.some(trial.survivors, count, word)
    won = 0
    for images, labels, indices in subject.batches(rows):
        task = subject.task.fork(word).replace(indices=indices)
        moved = task.threat.project(images, trial.move(images, labels, task, attack, patience=factor))
        won += int(subject.wrong(moved, labels).sum())
    return {"n": len(rows), "won": won}


def _sweep(trial: Trial) -> dict[str, Any]:
    """Return, per radius, which of a few clean-correct images fall."""
    subject, threat = trial.subject, trial.subject.task.threat
    count = trial.purse.images(0.4, 4 * trial.cost, IMAGES, least=4)
    rows = subject.some(subject.clean, count, "sweep")
    fell: dict[str, list[bool]] = {"own": [not bool(trial.survivors[row]) for row in rows]}
    for name, eps in radii(threat, subject.test.shape).items():
        try:
            fell[name] = _fallen_at(trial, ThreatModel(threat.norm, eps, threat.access), rows)
        except Exception:  # noqa: S112 - nobody asked for this radius: an attack that refuses it is not at fault
            continue
    order = [name for name in ("half", "own", "double", "blinding") if name in fell]
    rising = sum(
        any(fell[low][row] and not fell[high][row] for low, high in pairwise(order)) for row in range(len(rows))
    )
    standing = {name: len(rows) - sum(flags) for name, flags in fell.items()}
    return {"n": len(rows), "rising": rising, **standing}


def _fallen_at(trial: Trial, threat: ThreatModel, rows: list[int]) -> list[bool]:
    fell: list[bool] = []
    for images, labels, indices in trial.subject.batches(rows):
        task = trial.subject.task.replace(indices=indices, attacked=threat)
        moved = threat.project(images, trial.move(images, labels, task))
        fell += trial.subject.wrong(moved, labels).tolist()
    return fell


def radii(threat: ThreatModel, shape: tuple[int, int, int]) -> dict[str, float]:
    """Return the radii that are tried beside the cell's own; a parameter check refuses none of them."""
    whole = 1.0 if threat.norm == "Linf" else math.sqrt(math.prod(shape))
    found = {"half": threat.eps / 2, "double": min(2 * threat.eps, whole), "unbounded": whole}
    if threat.norm == "Linf":
        found["blinding"] = BLINDING
    return found


def more(case: Case, ring: Sequence[Case]) -> Check:
    """See that twice the steps, or another random start, change little."""
    name, found = "more steps", case.probes["effort"]
    if not found["tried"]:
        return skip(name, f"<= {MORE[0]:.0%} of the images", "Not part of --gate quick, or not an iterative attack.")
    which = max(("again", "double"), key=lambda key: found[key]["won"] / max(found[key]["n"], 1))
    part, what = found[which], {"again": "another seed", "double": "twice the steps"}[which]
    standing = int(case.robust.correct.sum())
    return lost(
        name, part["won"], part["n"], standing, case.n,
        "Another seed and twice the steps win little more.",
        f"With {what}, {case.attack_name} wins {part['won']} of {part['n']} images that it left standing: it has not "
        "converged. Give it more steps or restarts.",
        limits=MORE,
        worst="suspect",
        chance=case.robust.draws > 1,
    )  # fmt: skip


def converged(case: Case, _ring: Sequence[Case]) -> Check:
    """See that the loss no longer rises at the end (indicator I4), where twice the steps confirm it."""
    name, threshold = "converged", f"<= {MOVING:.0%} of the rise in the last 10 iterates"
    trace, effort = case.probes["trace"], case.probes["effort"]
    if not trace["n"]:
        return skip(name, threshold, "No path was watched: nothing iterative, or nothing left standing.")
    share = trace["moving"] / trace["n"]
    double = effort["double"] if effort["tried"] else {"n": 0, "won": 0}
    standing = int(case.robust.correct.sum()) / case.n
    # One image of a few may fall by luck.
    more_wins = double["won"] > 1 and double["won"] / double["n"] * standing > TOLERATED
    fault = share > 0.5 and more_wins
    meaning = (
        f"On {trace['moving']} of {trace['n']} images the loss still rises at the end, and twice the steps win more: "
        "the attack stopped too early. Give it more steps."
        if fault
        else "The loss has levelled off where it was watched, or more steps win nothing."
    )
    return check(name, "suspect" if fault else "pass", share, threshold, trace["n"], meaning)


def falls_with_eps(case: Case, _ring: Sequence[Case]) -> Check:
    """See that a larger ball never helps the model, and that a blinding one leaves it at chance."""
    name, threshold = "accuracy falls with eps", "monotone, and at chance at eps = 0.5"
    found = case.probes["effort"]
    if not found["tried"] or not found["sweep"]["n"]:
        return skip(name, threshold, "Not part of --gate quick, or not an iterative attack.")
    sweep, classes = found["sweep"], len(case.data.classes)
    n = sweep["n"]
    rising = wilson(sweep["rising"], n)[0] > RISING
    seeing = "blinding" in sweep and wilson(sweep["blinding"], n)[0] > 1 / classes
    value = max(sweep["rising"], sweep.get("blinding", 0)) / n
    meaning = (
        f"{sweep['rising']} of {n} images fall at a smaller eps and stand at a larger one: the attack is led astray."
        if rising
        else f"At eps = 0.5, where no image can be recognised, {sweep['blinding']} of {n} images are still answered "
        f"right (chance: {1 / classes:.0%}): the attack or its gradients fail."
        if seeing
        else "Accuracy falls as the ball grows, to chance or below."
    )
    return check(name, "suspect" if rising or seeing else "pass", value, threshold, n, meaning)


def unbounded(case: Case, _ring: Sequence[Case]) -> Check:
    """See that the attack wins everything when only the box holds it (indicator I6)."""
    name, threshold = "unbounded attack", "= 0 images standing"
    found = case.probes["effort"]
    if not found["tried"] or not found["sweep"]["n"] or "unbounded" not in found["sweep"]:
        return skip(name, threshold, "Not part of --gate quick, or not an attack that can be iterated without bounds.")
    standing, n = found["sweep"]["unbounded"], found["sweep"]["n"]
    # One or two of a few may stand by a bad start; more is a broken attack.
    fault = wilson(standing, n)[0] > 0.05
    meaning = (
        f"{standing} of {n} images withstand {case.attack_name} even when every pixel may take any value (indicator "
        "I6): the attack does not work on this model."
        if fault
        else "Without bounds the attack wins."
    )
    return check(name, "suspect" if fault else "pass", standing / n, threshold, n, meaning)
