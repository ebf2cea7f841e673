"""Has the attacked model gradients, and are they true?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench.attacks.tile_search import tile_queries, tiles
from robench.contracts.adaptive import drawing
from robench.contracts.task import Task
from robench.contracts.threat_model import SPARSE
from robench.errors import RobenchError
from robench.evidence.card import Check
from robench.evidence.check_rules import SHARES
from robench.evidence.check_verdict import check, share, skip
from robench.gate.finite_differences import COARSE_STEP, contradicted, margin_of, slopes_disagree
from robench.gate.measurement import Measurement
from robench.gate.probe_context import ProbeContext
from robench.runtime.out_of_memory import is_out_of_memory

#: Images on which gradients are looked at, those still standing first.
IMAGES = 16
#: Largest share of images that may have no gradient at all; above the second the model is INVALID.
BLIND = SHARES["gradients present"].limits
#: Share of the images whose gradient finite differences may contradict.
UNTRUE = SHARES["gradients true"].limits
#: How far the lead of the label must fall along the gradient, as a share of what the gradient says, over a sixteenth of
#: the ball and at most this far, or over an eighth of that; and the shares of images on which it may fall less.
LED, LED_STEP, STUCK = 0.25, 0.5 / 255, SHARES["gradients useful"].limits


def probe(context: ProbeContext) -> dict[str, Any]:
    """Return how many of a few images have no gradient, and how many have one that finite differences contradict."""
    # Of a straight-through path there is but the gradient; else it is held to answers, with the draws held still.
    approximate = context.defense.gradient == "straight-through"
    count = context.budget.images("gradients", 3 * context.price if approximate else 12, IMAGES)
    rows = context.some(context.standing, count, "gradients")
    if len(rows) < min(4, count):
        among = context.clean & ~context.standing
        rows = sorted(rows + context.some(among, min(4, count) - len(rows), "gradients"))
    found = {"n": 0, "blind": 0, "flat": 0, "ce_blind": 0, "checked": 0, "untrue": 0, "stuck": 0, "possible": True}
    for images, labels, indices in context.batches(rows):
        for name, seen in _look(context, images, labels, context.task.replace(indices=indices)).items():
            found[name] = found[name] and seen if name == "possible" else found[name] + seen
    return found


def _look(context: ProbeContext, images: Tensor, labels: Tensor, task: Task) -> dict[str, Any]:
    jitter = _jittered(images, task)
    approximate = context.defense.gradient == "straight-through"
    held = context.defense.randomized and not approximate
    model = FixedDraws(context.plain, task) if held else context.target
    possible, nothing = True, torch.zeros_like(images)
    try:
        lead, margin, entropy = _gradients(model, jitter, labels)
    except (RuntimeError, RobenchError) as error:
        if is_out_of_memory(error):
            raise
        # The answer does not depend on the image through anything differentiable.
        possible, lead, margin, entropy = False, nothing.flatten(1)[:, 0], nothing, nothing
    blind = ~(margin.flatten(1).abs().amax(1) > 0)
    seen = {"n": len(images), "blind": int(blind.sum()), "possible": possible}
    seen["ce_blind"] = int((~blind & ~(entropy.flatten(1).abs().amax(1) > 0)).sum())
    if not possible or approximate or (held and not _repeats(model, jitter)):
        return seen
    if held:
        untrue = slopes_disagree(model, jitter, labels, margin, COARSE_STEP)
    else:
        untrue = contradicted(context.plain, jitter, labels, margin, task.uniform(jitter, "direction"))
    seen |= {"checked": len(images), "untrue": int(untrue.sum())}
    seen["stuck"] = int((~blind & _stuck(context.task, model, jitter, labels, lead, margin)).sum())
    unknown, seen["flat"] = _withstand(context, images, labels, blind & ~untrue, task)
    seen["n"] -= unknown
    seen["blind"] -= unknown
    return seen


class FixedDraws(nn.Module):
    """Ask a randomized classifier with the same draws every time, so that only the images make a difference."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, classes) of one fixed draw."""
        with drawing(True, self.task, "gradients"):
            logits: Tensor = self.model(images)
        return logits


def _repeats(model: nn.Module, images: Tensor) -> bool:
    """Tell whether two forwards agree; a defense that draws from a generator of its own cannot be held still."""
    with torch.no_grad():
        return bool(torch.equal(model(images), model(images)))


def _stuck(task: Task, model: nn.Module, images: Tensor, labels: Tensor, lead: Tensor, gradient: Tensor) -> Tensor:
    """Return (N,) bool: where neither a step along the gradient nor a smaller one does what the gradient says.

    A true gradient may be useless: of a ripple too small to see and too steep to climb over, or of a loss that turns
    within less than an attack's step. One that only bends, as of a root near zero, is of use to a smaller step.
    """
    threat, way = task.threat, task.threat.steepest(-gradient, images)
    size = images[0].numel()
    moving = {"Linf": 1.0, "L2": size**0.5, "L1": float(math.ceil(SPARSE * size))}  # the length of a step of 1 a pixel
    whole = min(threat.eps / 16, LED_STEP * moving[threat.norm])
    stuck = torch.ones(len(images), dtype=torch.bool, device=images.device)
    for step in (whole, whole / 8):
        moved = (images + step * way).clamp(0, 1)  # outside the box nothing need be defined
        promised = (gradient * (moved - images)).flatten(1).sum(1).abs()
        with torch.no_grad():
            fall = lead - margin_of(model(moved), labels)
        stuck &= ~(fall >= LED * promised)
    return stuck


def _withstand(context: ProbeContext, images: Tensor, labels: Tensor, flat: Tensor, task: Task) -> tuple[int, int]:
    """Return how many truly flat images nobody searched without a gradient, and how many withstood such a search.

    Where all units that an image reaches are dead, its gradient is zero because the answer does not change. Of images
    that the gate cannot afford to search nobody knows whether there is anything to climb.
    """
    rows = flat.nonzero().flatten()
    if not context.level.tiles or not len(rows) or 2 * len(rows) > len(images):
        return 0, 0
    cost = tile_queries(1) * context.price + context.verdict
    unknown, rows = len(rows), rows[: context.budget.images("flat", cost, len(rows))]
    if not len(rows):
        return unknown, 0
    at = task.replace(indices=[task.indices[row] for row in rows.tolist()])
    moved = tiles(context.judge, images[rows], labels[rows], at, rounds=1)
    standing = ~context.wrong(task.threat.project(images[rows], moved), labels[rows])
    return unknown - len(rows), int(standing.sum())


def _jittered(images: Tensor, task: Task) -> Tensor:
    """Return points of the ball and the box, no two pixels equal: ties are kinks of every median and maximum."""
    reach = min(0.5, task.threat.reach(images[0].numel()) / 2)
    return images.clamp(reach, 1 - reach) + reach * task.uniform(images, "jitter")


def _gradients(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the margin (N,), its gradient and that of the cross-entropy, for one forward and two backwards."""
    with torch.enable_grad():
        images = images.detach().requires_grad_(True)
        logits = model(images)
        lead = margin_of(logits, labels)
        (margin,) = torch.autograd.grad(lead.sum(), images, retain_graph=True)
        (entropy,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), images)
    return lead.detach(), margin.nan_to_num(0.0), entropy.nan_to_num(0.0)


def present(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that the images still standing have a gradient to climb."""
    found, name = measured.model_probes["gradients"], "gradients present"
    dear = measured.too_dear("gradients") or measured.too_dear("flat")
    if not found["n"] and dear:
        return skip(name, f"<= {BLIND[0]:.0%} of the images tried", dear)
    if measured.fitted.training.gradient == "none":
        hidden = found["possible"] and found["n"] and found["blind"] / found["n"] <= BLIND[0]
        meaning = (
            "The defense declares gradient = none, but its input gradients are there: that keeps white-box attacks "
            "away from it. Declare exact or straight-through."
            if hidden
            else "Declared without gradients, and there are none: judged by queries and transfer."
        )
        seen = 1 - found["blind"] / max(found["n"], 1)
        return check(name, "invalid" if hidden else "pass", seen, "no gradient", found["n"], meaning)
    if not found["n"]:
        return skip(name, f"<= {BLIND[0]:.0%} of the images tried", "No image is classified correctly.")
    flat = f" {found['flat']} have none since their answers are flat, and withstand a search without gradients."
    return share(
        name, found["blind"] - found["flat"], found["n"], BLIND,
        "The images that stand have input gradients." + (flat if found["flat"] else ""),
        f"{found['blind']} of {found['n']} images have an exactly zero input gradient: a gradient attack cannot "
        "move there, and what it leaves standing was never attacked (rounding, argmax, detach, a saturated unit). "
        "Declare gradient = straight-through with robench.straight_through, or none.",
    )  # fmt: skip


def true(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """Compare the gradient that attacks climb with the slope of the answers."""
    found, name = measured.model_probes["gradients"], "gradients true"
    if not found["checked"]:
        why = (
            "Nothing is claimed: the backward pass is declared approximate, there is none, or the defense draws from a "
            "generator of its own."
        )
        why = measured.too_dear("gradients") or why
        return skip(name, f"<= {UNTRUE[0]:.0%} of the images tried", why)
    return share(
        name, found["untrue"], found["checked"], UNTRUE,
        "Finite differences agree with the gradients.",
        f"For {found['untrue']} of {found['checked']} images finite differences of the answers contradict the "
        "gradient: part of the forward is hidden from the backward pass (detach, no_grad, rounding, a hook). Attacks "
        "were led astray; let gradients through, or declare gradient = straight-through.",
    )  # fmt: skip


def useful(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that a step along the gradient does what the gradient says."""
    found, name = measured.model_probes["gradients"], "gradients useful"
    if not found["checked"] or measured.cell.threat.eps == 0:
        none = "No exact gradient is claimed, or there is no ball to step in."
        why = measured.too_dear("gradients") or none
        return skip(name, f"<= {STUCK[0]:.0%} of the images tried", why)
    strength = measured.model_probes["strength"]
    other = sum(strength[name]["won"] for name in ("stronger", "tiles", "queries", "noise"))
    return share(
        name, found["stuck"], found["checked"], STUCK,
        "Small steps along the gradients do what the gradients say.",
        f"On {found['stuck']} of {found['checked']} images neither a step of a sixteenth of the ball along the "
        f"gradient nor one of an eighth of that changes the margin by {LED:.0%} of what the gradient says: the loss is "
        "too rough for gradients (shattered), and what they leave standing was hardly attacked. Average gradients over "
        "noise, or add --attack square.",
        # A rough loss that no other attack gets past either may be as robust as it looks.
        worst="invalid" if other else "suspect",
    )  # fmt: skip
