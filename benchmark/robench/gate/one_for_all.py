"""Is one perturbation really one, and does the harness's own, fitted on other images, win no more?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from robench.attacks.universal import changed_otherwise, common_change, universal
from robench.contracts.components import Attack
from robench.errors import RobenchError
from robench.evidence.card import Check
from robench.evidence.check_rules import ONE
from robench.evidence.check_verdict import check, needed_net, skip, zero
from robench.evidence.compound_rules import STRONGER_ONE
from robench.evidence.compound_rules import stronger_one as weigh_stronger
from robench.gate.measurement import Measurement
from robench.gate.pass_budget import Exhausted
from robench.gate.probe_context import AttackContext
from robench.plan.cell import type_of
from robench.runtime.out_of_memory import is_out_of_memory

#: Stored images that are compared, and images for which the perturbation is asked for again.
COMPARED, AGAIN = 64, 4
#: Images on which the harness fits its own, and that it is tried on; steps, the first that are paid for on enough.
FITTED, ENOUGH, STEPS = 96, 24, (20, 10, 5, 2, 1)


def probe(probed: AttackContext) -> dict[str, Any]:
    """Return how many images were changed otherwise than most, and what the harness's own perturbation wins."""
    if not probed.attack.shared or probed.context.task.threat.eps == 0 or probed.shown is None:
        return {}
    return {**_own(probed), **_same(probed, probed.shown)}


def _same(probed: AttackContext, shown: Tensor) -> dict[str, int]:
    """Return of how many stored images, and of how many asked for anew in other company, the change is another."""
    context, threat = probed.context, probed.context.task.threat
    rows = [row for row in range(min(COMPARED, len(shown))) if bool(context.clean[row]) or not probed.white_box]
    found = {"compared": len(rows), "differ": 0, "again": 0, "changed": 0}
    if len(rows) < 2:
        return found
    batch = next(context.test[rows].batches(len(rows), context.task.device))
    stored = shown[rows].to(batch.images.device)
    change = common_change(batch.images, stored, threat)
    found["differ"] = int(changed_otherwise(batch.images, stored, change, threat).sum())
    count = probed.budget.images("asked anew", probed.cost, min(AGAIN, len(rows)))
    if not count:
        return found
    some = batch.images[:count]
    try:
        moved = probed.move(some, batch.labels[:count], probed.crafting.replace(indices=rows[:count]))
    except Exhausted:  # it is fitted anew each time it is asked, and that is dear
        return found
    moved = threat.project(some, moved)
    return found | {"again": count, "changed": int(changed_otherwise(some, moved, change, threat).sum())}


def _own(probed: AttackContext) -> dict[str, int]:
    """Return how many images fall to the harness's own perturbation alone, and how many to the judged one alone."""
    context, found = probed.context, {"tried": 0, "won": 0, "lost": 0, "steps": 0, "fitted": 0}
    right = int(context.clean.sum())
    if not probed.white_box or context.unseen is None or not right:
        return found
    most, count, steps = min(FITTED, len(context.unseen), right), 0, 0
    for steps in STEPS:
        cost = (2 * steps + 1) * context.price + context.verdict
        count = probed.budget.images("own universal", cost, most)
        if count >= min(ENOUGH, most):
            break
    if not count:
        return found
    probed.budget.beyond.pop("own universal", None)
    rows = context.some(torch.ones(len(context.unseen), dtype=torch.bool), count, "own universal")
    batch = next(context.unseen[rows].batches(count, context.task.device))
    threat = context.task.threat
    try:
        change = universal(context.target, batch.images, batch.labels, threat, steps=steps)
    except (RuntimeError, RobenchError) as error:  # no gradient, or none that can be used: another check says so
        if is_out_of_memory(error):
            raise
        return found
    tried = context.some(context.clean, count, "own universal")
    fell = context.fallen(tried, lambda images, labels, task: change.on(images, threat))
    stood = probed.survivors[tried].tolist()
    pairs = list(zip(fell, stood, strict=True))
    return {
        "tried": len(tried), "steps": steps, "fitted": count,
        "won": sum(mine and theirs for mine, theirs in pairs),
        "lost": sum(not (mine or theirs) for mine, theirs in pairs),
    }  # fmt: skip


def one(measured: Measurement, _group: Sequence[Measurement]) -> Check | None:
    """See that an attack of one perturbation changes all images alike, and asks none of those it is scored on."""
    found = _found(measured)
    if found is None:
        return None
    if not found.get("compared"):
        return skip(ONE, "= 0 images", "There were no two images to compare.")
    name, differ, changed = measured.attack_name, found["differ"], found["changed"]
    more = f", and for {found['again']} of them by themselves it is the same" if found["again"] else ""
    return zero(
        ONE, differ + changed, "images", found["compared"] + found["again"],
        f"All {found['compared']} images compared were changed alike{more}.",
        f"{differ} of {found['compared']} images were changed otherwise than the others: {name} is no one perturbation "
        "for all images, and declares to be. Leave out shared."
        if differ
        else f"Asked for {found['again']} of the images by themselves, {name} returns another perturbation: it is "
        "fitted on the test images that it is given. Fit it on task.training_images().",
    )  # fmt: skip


def stronger(measured: Measurement, _group: Sequence[Measurement]) -> Check | None:
    """Let the harness's own perturbation, fitted on validation images, win little more than the judged one."""
    found = _found(measured)
    if found is None:
        return None
    threshold = "<= 8% of the images tried"
    if not found.get("tried"):
        why = "The harness's own was not fitted: that takes validation images, gradients and an end-to-end attack."
        return skip(STRONGER_ONE, threshold, measured.too_dear("own universal") or why)
    figures = {"won": found["won"], "lost": found["lost"], "among": found["tried"]}
    made = weigh_stronger(figures)
    own = (
        f"Of {found['tried']} images, {found['won']} fall to the harness's own one perturbation alone, fitted on "
        f"{found['fitted']} validation images in {found['steps']} steps, and {found['lost']} to "
        f"{measured.attack_name} alone"
    )
    meaning = {
        "pass": "The harness's own one perturbation, fitted on validation images, wins little more.",
        "skipped": f"Not enough images: {own[0].lower()}{own[1:]}, on so few that may be chance. About "
        f"{needed_net(figures):,} would tell (--n or --gate-cost).",
    }.get(made.status, f"{own}: what stands here falls to a better one, so the accuracy under it is too high.")
    return check(STRONGER_ONE, made.status, made.value, made.threshold, made.n, meaning, figures)


def _found(measured: Measurement) -> dict[str, Any] | None:
    """Return the figures of the probe; None where the attack makes another perturbation for each image."""
    attack: Attack = type_of(measured.cell.attack, Attack)
    return dict(measured.probes.get("shared") or {}) if attack.shared and measured.cell.threat.eps else None
