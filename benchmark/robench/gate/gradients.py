"""Has the attacked model gradients, and are they true?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench.contracts.module_copy import copy_module
from robench.contracts.task import Task
from robench.errors import RobenchError
from robench.evidence.card import Check, Status
from robench.evidence.check_verdict import check, skip
from robench.gate.measurement import Measurement
from robench.gate.probe_context import ProbeContext
from robench.runtime.out_of_memory import is_out_of_memory

#: Images on which gradients are looked at, those still standing first.
IMAGES = 16
#: Largest share of images that may have no gradient at all.
MOST_BLIND = 0.05
#: Largest disagreement with finite differences, relative to the gradient's length, and the share that may exceed it.
DISAGREEMENT, MOST_UNTRUE = 0.1, 0.25
#: How far the lead of the label must fall along the gradient, as a share of what the gradient says, over a sixteenth of
#: the ball and at most this far; and the share of images on which it may fall less.
LED, LED_STEP, MOST_STUCK = 0.25, 0.5 / 255, 0.25
#: Step of the finite differences in float64, and where a model only computes in float32.
STEP, COARSE_STEP = 1e-6, 2e-3


def probe(context: ProbeContext) -> dict[str, Any]:
    """Return how many of a few images have no gradient, and how many have one that finite differences contradict."""
    count = context.budget.images(0.2, 10 * context.price, IMAGES, least=4)
    rows = context.some(context.standing, count, "gradients")
    if len(rows) < min(4, count):
        among = context.clean & ~context.standing
        rows = sorted(rows + context.some(among, min(4, count) - len(rows), "gradients"))
    found = {"n": 0, "blind": 0, "ce_blind": 0, "checked": 0, "untrue": 0, "stuck": 0, "possible": True}
    for images, labels, indices in context.batches(rows):
        task = context.task.replace(indices=indices)
        jitter = _jittered(images, task)
        try:
            lead, margin, entropy = _gradients(context.target, jitter, labels)
        except (RuntimeError, RobenchError) as error:
            # The answer does not depend on the image through anything differentiable.
            if is_out_of_memory(error):
                raise
            found["possible"] = False
            lead, margin, entropy = torch.zeros(len(images)), torch.zeros_like(images), torch.zeros_like(images)
        found["n"] += len(images)
        blind = ~(margin.flatten(1).abs().amax(1) > 0)
        found["blind"] += int(blind.sum())
        found["ce_blind"] += int((~blind & ~(entropy.flatten(1).abs().amax(1) > 0)).sum())
        if found["possible"] and context.defense.gradient != "straight-through" and not context.defense.randomized:
            untrue = contradicted(context.plain, jitter, labels, margin, task.generator("gate", "direction"))
            found["checked"] += len(images)
            found["untrue"] += int(untrue.sum())
            found["stuck"] += int((~blind & _stuck(context, jitter, labels, lead, margin)).sum())
    return found


def _stuck(context: ProbeContext, images: Tensor, labels: Tensor, lead: Tensor, gradient: Tensor) -> Tensor:
    """Return (N,) bool: where a step along the gradient hardly does what the gradient says.

    A true gradient may be useless: of a ripple too small to see and too steep to climb over, or of a loss that turns
    within less than an attack's step.
    """
    threat = context.task.threat
    step = min(threat.eps / 16, LED_STEP if threat.norm == "Linf" else LED_STEP * images[0].numel() ** 0.5)
    way = threat.steepest(-gradient)
    with torch.no_grad():
        fall = lead - margin_of(context.target(images + step * way), labels)
    promised = step * (gradient * way).flatten(1).sum(1).abs()
    return ~(fall >= LED * promised)


def _jittered(images: Tensor, task: Task) -> Tensor:
    """Return points of the ball and the box, no two pixels equal: ties are kinks of every median and maximum."""
    threat = task.threat
    reach = threat.eps / 2 if threat.norm == "Linf" else threat.eps / 2 / math.sqrt(images[0].numel())
    return images.clamp(reach, 1 - reach) + reach * task.uniform(images, "jitter")


def margin_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Return by how much the label's logit leads (N,); below 0 the image is lost."""
    own = logits.gather(1, labels[:, None]).squeeze(1)
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


def _gradients(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the margin (N,), its gradient and that of the cross-entropy, for one forward and two backwards."""
    with torch.enable_grad():
        images = images.detach().requires_grad_(True)
        logits = model(images)
        lead = margin_of(logits, labels)
        (margin,) = torch.autograd.grad(lead.sum(), images, retain_graph=True)
        (entropy,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), images)
    return lead.detach(), margin.nan_to_num(0.0), entropy.nan_to_num(0.0)


def contradicted(
    model: nn.Module, images: Tensor, labels: Tensor, gradient: Tensor, generator: torch.Generator
) -> Tensor:
    """Return (N,) bool: where ``gradient``, which attacks climb in float32, is not the slope that the answers have.

    Central differences of the margin along the gradient and along a random direction, in float64; a model that only
    computes in float32 is measured with a wider step and along the gradient only.
    """
    try:
        exact = copy_module(model).double()
        return _slopes(exact, images.double(), labels, gradient.double(), STEP, 2, generator)
    except Exception as error:  # it holds float32 constants, casts to float32, or cannot be copied
        if is_out_of_memory(error) and len(images) > 1:  # in float64 one image alone may not fit
            raise
        return _slopes(model, images, labels, gradient, COARSE_STEP, 1, generator)


def _slopes(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    gradient: Tensor,
    step: float,
    directions: int,
    generator: torch.Generator,
) -> Tensor:
    with torch.no_grad():
        logits = model(images)
    if logits.dtype != images.dtype:
        raise TypeError(f"{logits.dtype} cannot show a step of {step}")
    rivals = logits.scatter(1, labels[:, None], -torch.inf).argmax(1)

    def lead(points: Tensor) -> Tensor:
        logits: Tensor = model(points)
        return logits.gather(1, labels[:, None]).squeeze(1) - logits.gather(1, rivals[:, None]).squeeze(1)

    length = gradient.flatten(1).norm(dim=1)
    ways = [gradient / length.clamp_min(1e-30).view(-1, 1, 1, 1)]
    if directions > 1:
        ways.append(torch.randn(images.shape, generator=generator, dtype=images.dtype).to(images.device).sign())
    wrong = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for way in ways:
        wrong |= _disagrees(lead, images, way, gradient, length, step)
    return wrong


def _disagrees(
    lead: Callable[[Tensor], Tensor], images: Tensor, way: Tensor, gradient: Tensor, length: Tensor, step: float
) -> Tensor:
    with torch.no_grad():
        slope = (lead(images + step * way) - lead(images - step * way)) / (2 * step)
    claimed = (gradient * way).flatten(1).sum(1)
    # The size a slope along this direction has when the gradient points elsewhere at random.
    typical = length * way.flatten(1).norm(dim=1) / images[0].numel() ** 0.5
    expected = torch.maximum(typical, claimed.abs())
    return ~((slope - claimed).abs() <= DISAGREEMENT * expected + 1e-9)


def present(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that the images still standing have a gradient to climb."""
    found, name = measured.model_probes["gradients"], "gradients present"
    threshold = f"<= {MOST_BLIND:.0%} of the images tried"
    declared = measured.fitted.training.gradient
    share = found["blind"] / max(found["n"], 1)
    if declared == "none":
        hidden = found["possible"] and share <= MOST_BLIND
        meaning = (
            "The defense declares gradient = none, but its input gradients are there: that keeps white-box attacks "
            "away from it. Declare exact or straight-through."
            if hidden
            else "Declared without gradients, and there are none: judged by queries and transfer."
        )
        return check(name, "invalid" if hidden else "pass", 1 - share, "no gradient", found["n"], meaning)
    if not found["n"]:
        return skip(name, threshold, "No image is classified correctly.")
    status = "pass" if share <= MOST_BLIND else "invalid" if share > 0.5 else "suspect"
    meaning = (
        "The images that stand have input gradients."
        if status == "pass"
        else f"{found['blind']} of {found['n']} images have an exactly zero input gradient: a gradient attack cannot "
        "move there, and what it leaves standing was never attacked (rounding, argmax, detach, a saturated unit). "
        "Declare gradient = straight-through with robench.straight_through, or none."
    )
    return check(name, status, share, threshold, found["n"], meaning)  # type: ignore[arg-type]  # one of three literals


def true(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """Compare the gradient that attacks climb with the slope of the answers."""
    found, name = measured.model_probes["gradients"], "gradients true"
    threshold = f"<= {MOST_UNTRUE:.0%} of the images tried"
    if not found["checked"]:
        return skip(name, threshold, "Nothing is claimed: the backward pass is declared approximate, or there is none.")
    share = found["untrue"] / found["checked"]
    meaning = (
        "Finite differences agree with the gradients."
        if share <= MOST_UNTRUE
        else f"For {found['untrue']} of {found['checked']} images finite differences of the answers contradict the "
        "gradient: part of the forward is hidden from the backward pass (detach, no_grad, rounding, a hook). Attacks "
        "were led astray; let gradients through, or declare gradient = straight-through."
    )
    status = "pass" if share <= MOST_UNTRUE else "invalid"
    return check(name, status, share, threshold, found["checked"], meaning)  # type: ignore[arg-type]  # literals


def useful(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that a step along the gradient does what the gradient says."""
    found, name = measured.model_probes["gradients"], "gradients useful"
    threshold = f"<= {MOST_STUCK:.0%} of the images tried"
    if not found["checked"] or measured.cell.threat.eps == 0:
        return skip(name, threshold, "No exact gradient is claimed, or there is no ball to step in.")
    share = found["stuck"] / found["checked"]
    status: Status = "pass" if share <= MOST_STUCK else "invalid" if share > 2 * MOST_STUCK else "suspect"
    meaning = (
        "Small steps along the gradients do what the gradients say."
        if status == "pass"
        else f"On {found['stuck']} of {found['checked']} images a step of a sixteenth of the ball along the gradient "
        f"changes the margin by less than {LED:.0%} of what the gradient says: the loss is too rough for gradients "
        "(shattered), and what they leave standing was hardly attacked. Average gradients over noise, or add --attack "
        "square."
    )
    return check(name, status, share, threshold, found["checked"], meaning)
