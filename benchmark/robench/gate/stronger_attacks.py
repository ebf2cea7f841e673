"""Do the images still standing withstand attacks of the harness's own?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from robench.attacks.apgd import apgd
from robench.attacks.losses import Loss, cross_entropy
from robench.attacks.patch import patch
from robench.attacks.patch_rs import patch_rs
from robench.attacks.pixels import pixels
from robench.attacks.sparse_rs import sparse_rs
from robench.attacks.square import square
from robench.attacks.tile_search import SIDE, tile_queries, tiles
from robench.contracts.classifier import input_gradient
from robench.contracts.task import Task
from robench.errors import RobenchError
from robench.evidence.card import Check
from robench.evidence.check_rules import SHARES
from robench.evidence.check_verdict import STRONGER, TOLERATED, lost, share, skip
from robench.evidence.cross_cell_checks import ONE_STEP, one_step_check
from robench.gate.measurement import Measurement
from robench.gate.probe_context import ProbeContext
from robench.gate.short_steps import SHORT_STEPS, short_steps
from robench.gate.worst_case import climbers, one_step_only, searched, standing, won_over
from robench.runtime.out_of_memory import is_out_of_memory

#: Images on which one plain gradient step is tried.
ONE_STEP_IMAGES = 256
#: Share of the images tried that one loss may win beyond another.
MASKED = SHARES["another loss"].limits[0]
#: Fewest steps of the gate's own APGD, and images of which a stronger form has to be afforded to be taken.
FEWEST_STEPS, ENOUGH = 10, 4
#: Where the gate's own patches are climbed, one place after the other, and how many places it looks at.
PATCH_PLACES, PATCH_TRIES = 2, 12
#: What the gate's own climb is called, and which attacks to add where it wins; elsewhere than for a patch, APGD.
CLIMB = {"patch": ("patch search", "patch"), "L0": ("climb pixel by pixel", "sparse-rs")}
#: What its own search by queries is called, and which attacks to add, by the norms in which that is not Square.
SEARCH = {"L0": ("Sparse-RS", "sparse-rs"), "patch": ("Patch-RS", "patch-rs")}
#: Forwards that the climb takes of an image beside its steps: larger balls that it starts in, places that it looks at.
BEFORE = {"L1": 2, "patch": PATCH_TRIES + 6}
#: Draws of the random-noise control that are answered at a time.
NOISE_BATCH = 4


def probe(context: ProbeContext) -> dict[str, Any]:
    """Return how many images still standing fall to one step, APGD on several losses, tiles, queries and noise."""
    found: dict[str, Any] = {"left": int(context.standing.sum())}
    found["one_step"] = _one_step(context)
    found["stronger"] = _stronger(context)
    found["tiles"] = _tiles(context)
    found["noise"] = _noise(context)
    found["queries"] = _queries(context)
    return found


def _one_step(context: ProbeContext) -> dict[str, int]:
    """Return how many images fall to one gradient step; beyond quick, also to one that stops short of the edge.

    The whole step costs least of all that is tried, so it is tried on most images, and on some of those that it leaves
    the short ones.
    """
    price, wanted = context.price, min(ONE_STEP_IMAGES, int(context.standing.sum()))
    count = context.budget.images("one step", 2 * price + context.verdict, wanted)
    rows = context.some(context.standing, count, "one step")

    def whole(images: Tensor, labels: Tensor, task: Task) -> Tensor:
        return task.threat.one_step(images, _slope(context, images, labels))

    def short(images: Tensor, labels: Tensor, task: Task) -> Tensor:
        gradient = _slope(context, images, labels)
        return _cut_short(context, images, labels, task.threat.one_step(images, gradient), gradient)

    try:
        fell = torch.tensor(context.fallen(rows, whole), dtype=torch.bool)
        won = int(fell.sum())
        if context.level.sweep:
            left = torch.zeros_like(context.standing)
            left[torch.tensor(rows, dtype=torch.long)[~fell]] = True
            cost = 2 * price + SHORT_STEPS * context.verdict
            some = context.some(left, context.budget.images("short steps", cost, int(left.sum())), "short steps")
            won += sum(context.fallen(some, short))
        return {"n": len(rows), "won": won}
    except (RuntimeError, RobenchError) as error:  # no gradient to step along: another check says so
        if is_out_of_memory(error):
            raise
        return {"n": 0, "won": 0}


def _slope(context: ProbeContext, images: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient (N, C, H, W) of the cross-entropy, 0 where there is none."""
    _, gradient = input_gradient(lambda x: cross_entropy(context.target(x), labels), images)
    return gradient.nan_to_num(0.0)


def _cut_short(context: ProbeContext, images: Tensor, labels: Tensor, whole: Tensor, gradient: Tensor) -> Tensor:
    """Return the first short step that fools the model, or the whole one, which did not."""
    moved = whole.clone()
    left = torch.arange(len(labels), device=labels.device)
    for points in short_steps(images, whole, gradient):
        if not len(left):
            break
        wrong = context.wrong(points[left], labels[left])
        moved[left[wrong]] = points[left[wrong]]
        left = left[~wrong]
    return moved


def _stronger(context: ProbeContext) -> dict[str, Any]:
    """Attack the same images with APGD on one loss after another; an image is won when any of them wins it."""
    losses, steps, count = _effort(context)
    patched = context.task.threat.norm == "patch"
    rows = context.some(context.standing, count, "stronger")
    fell: dict[str, list[bool]] = {}
    for loss in losses:

        def climb(images: Tensor, labels: Tensor, task: Task, loss: Loss = loss) -> Tensor:
            if patched:
                each = max(steps // PATCH_PLACES, 1)
                return patch(
                    context.target, images, labels, task, loss=loss, steps=each, places=PATCH_PLACES, tries=PATCH_TRIES
                )
            if task.threat.norm == "L0":
                return pixels(context.target, images, labels, task, loss=loss, steps=steps)
            return apgd(context.target, images, labels, task, loss=loss, steps=steps)

        try:
            fell[loss] = context.fallen(rows, climb)
        except (RuntimeError, RobenchError) as error:  # no gradient, or none that APGD can use
            if is_out_of_memory(error):
                raise
            continue
    any_of = [any(flags) for flags in zip(*fell.values(), strict=True)]
    by = {loss: sum(flags) for loss, flags in fell.items()}
    return {"n": len(rows) if fell else 0, "won": sum(any_of), "by": by, "steps": steps}


def _effort(context: ProbeContext) -> tuple[Sequence[Loss], int, int]:
    """Return the losses, the steps and how many images: of dear models fewer steps, and then one loss, for more images.

    The first form is taken of which a few images can be afforded, else the last one.
    """
    level, budget, left = context.level, context.budget, int(context.standing.sum())
    losses = tuple(loss for loss in level.losses if loss != "dlr" or context.target.classes > 2)
    # In L0 a step is a pixel.
    most = min(level.steps, max(int(context.task.threat.eps), 1)) if context.task.threat.norm == "L0" else level.steps
    halves = [steps for steps in (most, most // 2, most // 4) if steps >= FEWEST_STEPS] or [most]
    forms = [*((losses, steps) for steps in halves), (losses[-1:], halves[-1])]
    before = BEFORE.get(context.task.threat.norm, 0)

    def cost(form: tuple[Sequence[Loss], int]) -> int:
        return len(form[0]) * ((2 * form[1] + 1 + before) * context.price + context.verdict)

    room = min(budget.part("stronger"), budget.left)
    form = next((form for form in forms if min(ENOUGH, left) * cost(form) <= room), forms[-1])
    return (*form, budget.images("stronger", cost(form), min(level.images, left)))


def _tiles(context: ProbeContext) -> dict[str, int]:
    rounds = context.level.tiles
    if not rounds or context.task.threat.norm in ("L0", "patch"):
        return {"n": 0, "won": 0}
    cost = tile_queries(rounds) * context.price + context.verdict
    count = context.budget.images("tiles", cost, min(context.level.images, int(context.standing.sum())))
    rows = context.some(context.standing, count, "tiles")

    def search(images: Tensor, labels: Tensor, task: Task) -> Tensor:
        return tiles(context.judge, images, labels, task, rounds=rounds)

    return {"n": len(rows), "won": sum(context.fallen(rows, search))}


def _queries(context: ProbeContext) -> dict[str, int]:
    if not context.level.queries:
        return {"n": 0, "won": 0}
    cost = context.level.queries * context.price + context.verdict
    count = context.budget.images("queries", cost, min(context.level.images, int(context.standing.sum())))
    rows = context.some(context.standing, count, "queries")

    def ask(images: Tensor, labels: Tensor, task: Task) -> Tensor:
        search = {"L0": sparse_rs, "patch": patch_rs}.get(task.threat.norm, square)
        return search(context.judge, images, labels, task, queries=context.level.queries)

    return {"n": len(rows), "won": sum(context.fallen(rows, ask))}


def _noise(context: ProbeContext) -> dict[str, int]:
    if not context.level.draws:
        return {"n": 0, "won": 0}
    cost = context.level.draws * context.verdict + (context.verdict if context.defense.randomized else 0)
    count = context.budget.images("noise", cost, min(context.level.images, int(context.standing.sum())))
    rows = context.some(context.standing, count, "noise")
    won = 0
    for images, labels, indices in context.batches(rows):
        lost_now = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        at = images.clone()
        task = context.task.replace(indices=indices)
        for draw in range(context.level.draws):
            unit = task.uniform(images, "noise", draw)
            # Half of the draws are corners of the ball, which move farthest.
            moved = task.threat.from_uniform(images, unit.sign() if draw % 2 else unit)
            wrong = context.wrong(moved, labels)
            at[wrong] = moved[wrong]
            lost_now |= wrong
        # With many draws one is answered wrongly by chance where answers are random, so the point is asked again.
        won += int((lost_now & context.wrong(at, labels)).sum() if context.defense.randomized else lost_now.sum())
    return {"n": len(rows), "won": won}


def one_step(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """Let one gradient step beat no iterative attack."""
    found = measured.model_probes["strength"]["one_step"]
    if measured.transfer or not measured.iterative:
        why = "Only an iterative white-box attack must beat one gradient step."
        return skip(ONE_STEP, f"<= {TOLERATED:.0%} of the images", why)
    beaten = [
        won_over(climbers(measured, group), [other])
        for other in group
        if other.defended_victim == measured.defended_victim
        and other.cell.threat.access == "white-box"
        and not other.iterative
    ]
    shown = max([found["won"], *beaten])
    won, tried, left = found["won"], found["n"], standing(measured, group)
    if max(beaten, default=0) > won:
        won, tried, left = max(beaten), measured.n, measured.n
    return one_step_check(won, tried, left, measured.n, shown, measured.attack_name, measured.too_dear("one step"))


def stronger(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """Let the harness's own climb (APGD, or patches) win little that the attacks on this model left standing."""
    found = measured.model_probes["strength"]["stronger"]
    names = ", ".join(f"{loss} {won}" for loss, won in found["by"].items())
    own, more = CLIMB.get(measured.cell.threat.norm, ("APGD", "apgd or autoattack"))
    return lost(
        "stronger attack", found["won"], found["n"], standing(measured, group), measured.n,
        f"{own[0].upper()}{own[1:]} on other losses wins little beyond what the attacks on this model won.",
        f"Of {found['n']} images still standing, {found['won']} fall to {found['steps']} steps of the harness's own "
        f"{own} ({names}): the attacks on this model are too weak, so the robust accuracy is too high. Add --attack "
        f"{more}.",
        limits=STRONGER,
        worst="suspect" if one_step_only(measured, group) else "invalid",
        doubtful=one_step_only(measured, group) and not searched(measured, group),
        # One gradient step is little, and the gate's limit lets it try few images then; of images that were made
        # elsewhere nobody knows how many steps they took.
        enough=2 if measured.made_elsewhere else 1,
        dear=measured.too_dear("stronger"),
    )  # fmt: skip


def another_loss(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """See whether one of the gate's losses wins what the others cannot: the sign of a masked one."""
    name, threshold = "another loss", f"<= {MASKED:.0%} of the images tried"
    found = measured.model_probes["strength"]["stronger"]
    if not found["n"] or len(found["by"]) < 2:
        why = measured.too_dear("stronger") or "No image, or fewer than two losses, were tried."
        return skip(name, threshold, why)
    best, least = max(found["by"], key=found["by"].get), min(found["by"], key=found["by"].get)
    return share(
        name, found["by"][best] - found["by"][least], found["n"], (MASKED, 1.0),
        "The losses agree on what falls.",
        f"Of {found['n']} images, {found['by'][best]} fall to the loss {best} and only {found['by'][least]} to "
        f"{least}: the weaker loss is masked, so do not rely on an attack that climbs it.",
        worst="suspect",
    )  # fmt: skip


def slopes(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """Let slopes that are measured tile by tile win nothing that gradients left."""
    rounds = measured.level.tiles
    return _searched(
        "measured slopes <= gradients", "tiles", rounds, measured, group,
        "Slopes measured tile by tile win nothing that gradients left, beyond tolerance.",
        f"images survive the attacks on this model but fall when the slopes of {SIDE} x {SIDE} tiles are measured, in "
        f"{tile_queries(rounds)} queries and without a gradient: its gradients, or its straight-through path, lead "
        "attacks astray. Add --attack square or autoattack.",
    )  # fmt: skip


def queries(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """Let a search without gradients win nothing that gradients left."""
    own, more = SEARCH.get(measured.cell.threat.norm, ("Square", "square or autoattack"))
    return _searched(
        "queries <= gradients", "queries", measured.level.queries, measured, group,
        f"A random search without gradients ({own}) wins nothing that gradients left, beyond tolerance.",
        f"images survive the attacks on this model but fall to {measured.level.queries} queries of a random search "
        f"({own}): the gradients are masked. Add --attack {more}.",
    )  # fmt: skip


def noise(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """Let random points of the ball win nothing that gradients left."""
    return _searched(
        "noise <= gradients", "noise", measured.level.draws, measured, group,
        "Random noise in the ball wins nothing that gradients left, beyond tolerance.",
        f"images survive the attacks on this model but fall to {measured.level.draws} random draws from the ball: "
        "those attacks do not search it.",
    )  # fmt: skip


def _searched(
    name: str,
    probe: str,
    effort: int,
    measured: Measurement,
    group: Sequence[Measurement],
    good: str,
    what_fell: str,
) -> Check:
    """Return the check of a search without gradients, which the level may leave out with an ``effort`` of 0."""
    found = measured.model_probes["strength"][probe]
    if not found["n"] and not effort:
        return skip(name, f"<= {TOLERATED:.0%} of the images", "Not part of --gate quick.")
    return lost(
        name, found["won"], found["n"], standing(measured, group), measured.n, good,
        f"{found['won']} of {found['n']} {what_fell}",
        worst="suspect" if one_step_only(measured, group) else "invalid",
        dear=measured.too_dear(probe),
    )  # fmt: skip
