"""Do the images still standing withstand attacks of the harness's own?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench.attacks.apgd import apgd
from robench.attacks.losses import Loss
from robench.attacks.square import square
from robench.attacks.tiles import SIDE, tile_queries, tiles
from robench.case import Case
from robench.classifier import input_gradient
from robench.errors import RobenchError
from robench.evidence.card import Check
from robench.gate.ring import climbers, one_step_only, standing, won_over
from robench.gate.subject import Subject
from robench.gate.verdict import TOLERATED, check, lost, skip
from robench.task import Task

#: Images on which one plain gradient step is tried.
ONE_STEP_IMAGES = 256
#: Share of all images that a stronger attack may win. From PGD to AutoAttack honest adversarial training loses 0.5 to
#: 3.5 points on CIFAR-10, and 5.4 here (PGD-20 to APGD, TeCoA on digits); masked defenses lose 11 (TGA-ZSR) to all.
STRONGER = (0.08, 0.20)
#: Draws of the random-noise control that are answered at a time.
NOISE_BATCH = 4


def look(subject: Subject) -> dict[str, Any]:
    """Return how many images still standing fall to one step, APGD on several losses, tiles, queries and noise."""
    found: dict[str, Any] = {"left": int(subject.standing.sum())}
    found["one_step"] = _one_step(subject)
    found["stronger"] = _stronger(subject)
    found["tiles"] = _tiles(subject)
    found["queries"] = _queries(subject)
    found["noise"] = _noise(subject)
    return found


def _one_step(subject: Subject) -> dict[str, int]:
    count = subject.purse.images(0.15, 3 * subject.price, ONE_STEP_IMAGES)
    rows = subject.some(subject.standing, count, "one step")

    def step(images: Tensor, labels: Tensor, task: Task) -> Tensor:
        def loss(x: Tensor) -> Tensor:
            return F.cross_entropy(subject.target(x), labels, reduction="none")

        _, gradient = input_gradient(loss, images)
        return images + task.threat.eps * task.threat.steepest(gradient.nan_to_num(0.0))

    try:
        return {"n": len(rows), "won": sum(subject.fallen(rows, step))}
    except (RuntimeError, RobenchError):  # no gradient to step along: another check says so
        return {"n": 0, "won": 0}


def _stronger(subject: Subject) -> dict[str, Any]:
    """Attack the same images with APGD on one loss after another; an image is won when any of them wins it."""
    losses = [loss for loss in subject.level.losses if loss != "dlr" or subject.target.classes > 2]
    cost = len(losses) * (2 * subject.level.steps + 3) * subject.price
    count = subject.purse.images(0.4, cost, subject.level.images, least=4)
    rows = subject.some(subject.standing, count, "stronger")
    fell: dict[str, list[bool]] = {}
    for loss in losses:

        def climb(images: Tensor, labels: Tensor, task: Task, loss: Loss = loss) -> Tensor:
            return apgd(subject.target, images, labels, task, loss=loss, steps=subject.level.steps)

        try:
            fell[loss] = subject.fallen(rows, climb)
        except (RuntimeError, RobenchError):  # no gradient, or none that APGD can use
            continue
    any_of = [any(flags) for flags in zip(*fell.values(), strict=True)]
    return {"n": len(rows) if fell else 0, "won": sum(any_of), "by": {loss: sum(flags) for loss, flags in fell.items()}}


def _tiles(subject: Subject) -> dict[str, int]:
    rounds = subject.level.tiles
    if not rounds:
        return {"n": 0, "won": 0}
    count = subject.purse.images(0.2, (tile_queries(rounds) + 1) * subject.price, subject.level.images)
    rows = subject.some(subject.standing, count, "tiles")

    def search(images: Tensor, labels: Tensor, task: Task) -> Tensor:
        return tiles(subject.judge, images, labels, task, rounds=rounds)

    return {"n": len(rows), "won": sum(subject.fallen(rows, search))}


def _queries(subject: Subject) -> dict[str, int]:
    if not subject.level.queries:
        return {"n": 0, "won": 0}
    count = subject.purse.images(0.1, (subject.level.queries + 2) * subject.price, subject.level.images, least=0)
    rows = subject.some(subject.standing, count, "queries")

    def search(images: Tensor, labels: Tensor, task: Task) -> Tensor:
        return square(subject.judge, images, labels, task, queries=subject.level.queries)

    return {"n": len(rows), "won": sum(subject.fallen(rows, search))}


def _noise(subject: Subject) -> dict[str, int]:
    if not subject.level.draws:
        return {"n": 0, "won": 0}
    count = subject.purse.images(0.1, subject.level.draws * subject.price, subject.level.images)
    rows = subject.some(subject.standing, count, "noise")
    won = 0
    for images, labels, indices in subject.batches(rows):
        lost_now = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        at = images.clone()
        task = subject.task.replace(indices=indices)
        for draw in range(subject.level.draws):
            unit = task.uniform(images, "noise", draw)
            # Half of the draws are corners of the ball, which move farthest.
            moved = task.threat.from_uniform(images, unit.sign() if draw % 2 else unit)
            wrong = subject.wrong(moved, labels)
            at[wrong] = moved[wrong]
            lost_now |= wrong
        # With many draws one is answered wrongly by chance where answers are random, so the point is asked again.
        won += int((lost_now & subject.wrong(at, labels)).sum() if subject.defense.randomized else lost_now.sum())
    return {"n": len(rows), "won": won}


def one_step(case: Case, ring: Sequence[Case]) -> Check:
    """Let one gradient step beat no iterative attack."""
    name, found = "one step <= many steps", case.row_probes["strength"]["one_step"]
    threshold, random = f"<= {TOLERATED:.0%} of the images", case.robust.draws > 1
    if case.transfer or not case.iterative:
        return skip(name, threshold, "Only an iterative white-box attack must beat one gradient step.")
    beaten = [
        won_over(climbers(case, ring), [other])
        for other in ring
        if other.row == case.row and other.cell.threat.access == "white-box" and not other.iterative
    ]
    good = "One gradient step beats no image that the attack left standing, beyond tolerance."
    bad = (
        f"{max([found['won'], *beaten])} images survive {case.attack_name} but fall to a single gradient step: its "
        "gradients or its step size are wrong, or the model masks gradients."
    )
    if max(beaten, default=0) > found["won"]:
        return lost(name, max(beaten), case.n, case.n, case.n, good, bad, chance=random)
    return lost(name, found["won"], found["n"], standing(case, ring), case.n, good, bad, chance=random)


def stronger(case: Case, ring: Sequence[Case]) -> Check:
    """Let the harness's own APGD win little that the row's attacks left standing."""
    found = case.row_probes["strength"]["stronger"]
    names = ", ".join(f"{loss} {won}" for loss, won in found["by"].items())
    return lost(
        "stronger attack", found["won"], found["n"], standing(case, ring), case.n,
        "APGD on other losses wins little beyond what the row's attacks won.",
        f"Of {found['n']} images still standing, {found['won']} fall to the harness's own APGD ({names}): the attacks "
        "of this row are too weak, so the robust accuracy is too high. Add --attack apgd or autoattack.",
        limits=STRONGER,
        worst="suspect" if one_step_only(case, ring) else "invalid",
        chance=case.robust.draws > 1,
    )  # fmt: skip


def another_loss(case: Case, ring: Sequence[Case]) -> Check:
    """See whether one of the gate's losses wins what the others cannot: the sign of a masked one."""
    name, threshold = "another loss", "<= 50% of the images tried"
    found = case.row_probes["strength"]["stronger"]
    if found["n"] < 4 or len(found["by"]) < 2:
        return skip(name, threshold, "Fewer than four images, or fewer than two losses, were tried.")
    best, least = max(found["by"], key=found["by"].get), min(found["by"], key=found["by"].get)
    gap = (found["by"][best] - found["by"][least]) / found["n"]
    fault = gap > 0.5
    meaning = (
        f"Of {found['n']} images, {found['by'][best]} fall to the loss {best} and only {found['by'][least]} to "
        f"{least}: the weaker loss is masked, so do not rely on an attack that climbs it."
        if fault
        else "The losses agree on what falls."
    )
    return check(name, "suspect" if fault else "pass", gap, threshold, found["n"], meaning)


def slopes(case: Case, ring: Sequence[Case]) -> Check:
    """Let slopes that are measured tile by tile win nothing that gradients left."""
    rounds = case.level.tiles
    return _searched(
        "measured slopes <= gradients", "tiles", rounds, case, ring,
        "Slopes measured tile by tile win nothing that gradients left, beyond tolerance.",
        f"images survive the row's attacks but fall when the slopes of {SIDE} x {SIDE} tiles are measured, in "
        f"{tile_queries(rounds)} queries and without a gradient: its gradients, or its straight-through path, lead "
        "attacks astray. Add --attack square or autoattack.",
    )  # fmt: skip


def queries(case: Case, ring: Sequence[Case]) -> Check:
    """Let a search without gradients win nothing that gradients left."""
    return _searched(
        "queries <= gradients", "queries", case.level.queries, case, ring,
        "A random search without gradients (Square) wins nothing that gradients left, beyond tolerance.",
        f"images survive the row's attacks but fall to {case.level.queries} queries of a random search (Square): the "
        "gradients are masked. Add --attack square or autoattack.",
    )  # fmt: skip


def noise(case: Case, ring: Sequence[Case]) -> Check:
    """Let random points of the ball win nothing that gradients left."""
    return _searched(
        "noise <= gradients", "noise", case.level.draws, case, ring,
        "Random noise in the ball wins nothing that gradients left, beyond tolerance.",
        f"images survive the row's attacks but fall to {case.level.draws} random draws from the ball: those attacks do "
        "not search it.",
    )  # fmt: skip


def _searched(name: str, probe: str, effort: int, case: Case, ring: Sequence[Case], good: str, what_fell: str) -> Check:
    """Return the check of a search without gradients, which the level may leave out with an ``effort`` of 0."""
    found = case.row_probes["strength"][probe]
    if not found["n"] and not effort:
        return skip(name, f"<= {TOLERATED:.0%} of the images", "Not part of --gate quick.")
    return lost(
        name, found["won"], found["n"], standing(case, ring), case.n, good,
        f"{found['won']} of {found['n']} {what_fell}",
        worst="suspect" if one_step_only(case, ring) else "invalid",
        chance=case.robust.draws > 1,
    )  # fmt: skip
