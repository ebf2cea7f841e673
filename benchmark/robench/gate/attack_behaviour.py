"""How does the judged attack behave, seen from the model it queries?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench.contracts.task import Task
from robench.contracts.threat_model import BALL_TOLERANCE, ThreatModel
from robench.errors import ContractError
from robench.evidence.card import Check
from robench.evidence.check_verdict import check, skip, zero
from robench.gate.measurement import Measurement
from robench.gate.probe_context import AttackContext

#: Images on which the eps = 0 identity is tried; it may take every step, so few.
IDENTITY_IMAGES = 4
#: Images whose path through the attack is recorded, one at a time.
TRACE_IMAGES = 8
#: A step counts as the whole ball from this share of eps.
WHOLE = 0.99
#: I4: the loss still moves by more than this share of its whole rise over the last iterates.
MOVING, LAST = 0.05, 10


def probe(probed: AttackContext) -> dict[str, Any]:
    """Return what the attack does with eps = 0, and what its paths on a few surviving images look like."""
    return {"identity": _identity(probed), "trace": _trace(probed)}


def _identity(probed: AttackContext) -> dict[str, int]:
    task, test = probed.context.task, probed.context.test
    count = min(probed.budget.images(0.2, probed.cost, IDENTITY_IMAGES), len(test))
    batch = next(test[:count].batches(count, task.device))
    nothing = ThreatModel(task.threat.norm, 0.0, task.threat.access)
    task = task.replace(threat_model=nothing, indices=batch.indices)
    try:
        moved = probed.move(batch.images, batch.labels, task)
    except Exception as error:  # a plugin may raise anything
        raise ContractError(
            f"{probed.attack.name} fails with eps = 0 ({type(error).__name__}: {error}); it must return the images "
            "unchanged there."
        ) from error
    return {"n": count, "moved": int((moved != batch.images).flatten(1).any(1).sum())}


def _trace(probed: AttackContext) -> dict[str, Any]:
    """Record the queries of an iterative white-box attack on images it could not win, one image at a time."""
    found = {"n": 0, "whole": 0, "short": 0, "silent": 0, "moving": 0}
    if not (probed.white_box and probed.attack.iterative and not probed.attack.queries_only):
        return found
    count = probed.budget.images(0.3, probed.cost + probed.context.price, TRACE_IMAGES)
    rows = probed.context.some(probed.survivors, count, "trace")
    for row in rows:
        batch = next(probed.context.batches([row]))
        task = probed.context.task.replace(indices=batch.indices)
        path, final = _trace_queries(probed, batch.images, batch.labels, task)
        if len(path) < 2:
            continue
        found["n"] += 1
        for name, seen in _describe(probed, batch.images, batch.labels, path, final, task.threat).items():
            found[name] += seen
    return found


Path = list[tuple[Tensor, Tensor]]


def _trace_queries(probed: AttackContext, images: Tensor, labels: Tensor, task: Task) -> tuple[Path, Tensor]:
    """Return the points at which the attack asked the model, with the answers, and the point it returned."""
    path: Path = []

    def note(_module: Any, inputs: tuple[Tensor, ...], logits: Tensor) -> None:
        if isinstance(logits, Tensor) and len(inputs[0]) == 1:
            path.append((inputs[0].detach().clone(), logits.detach().clone()))

    handle = probed.target.register_forward_hook(note)
    try:
        final = probed.move(images, labels, task)
    except Exception:
        return [], images
    finally:
        handle.remove()
    return path, task.threat.project(images, final.detach())


def _describe(
    probed: AttackContext, images: Tensor, labels: Tensor, path: Path, final: Tensor, threat: ThreatModel
) -> dict[str, bool]:
    points = torch.cat([point for point, _ in path])
    logits = torch.cat([answer for _, answer in path])
    steps = threat.distance(points[:-1], points[1:])
    moved = steps[steps > 1e-7]
    inside = threat.distance(images.expand_as(points), points) <= threat.eps + BALL_TOLERANCE
    inside &= ((points >= 0) & (points <= 1)).flatten(1).all(1)
    won_before = bool((inside & (logits.argmax(1) != labels)).any())
    stands = not bool(probed.context.wrong(final, labels).any())
    reached = float(threat.distance(images, final).max())
    loss = F.cross_entropy(logits, labels.expand(len(logits)), reduction="none")
    return {
        # Every move is as long as the ball is wide: the attack only jumps between its corners.
        "whole": len(moved) > 1 and float(moved.min()) >= WHOLE * threat.eps,
        # All moves together could not have reached the edge of the ball, and did not.
        # One that finds no way at all is no matter of step size.
        "short": len(moved) > 0 and reached < 0.5 * threat.eps - BALL_TOLERANCE and float(steps.sum()) < threat.eps,
        "silent": won_before and stands,
        "moving": _still_moving(loss),
    }


def _still_moving(loss: Tensor) -> bool:
    """Return indicator I4: the running best loss still rises over the last iterates."""
    best = loss.cummax(0).values
    rise = float(best[-1] - best[0])
    if rise <= 0 or len(best) <= LAST:
        return False
    return float(best[-1] - best[-LAST]) / rise > MOVING


def identity(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that nothing moves when nothing may."""
    found = measured.probes["identity"]
    return zero(
        "eps = 0", found["moved"], "images moved", found["n"],
        "With eps = 0 the images come back bit by bit, so robust accuracy at eps = 0 is the clean accuracy.",
        f"With eps = 0 {measured.attack_name} still changed images: it returns something else than the image plus a "
        "perturbation, or scales it wrongly.",
    )  # fmt: skip


def box_and_ball(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that every stored image lay where the threat model allows before the harness projected it."""
    found = measured.adversarial
    return zero(
        "box and ball", found.total("outside_ball") + found.total("outside_box"), "images", measured.n,
        "Every stored image lies in [0, 1] and in the ball.",
        f"{measured.attack_name} left the ball by up to {found.largest('excess'):.3g} or the box [0, 1]; the harness "
        "projected those images, so this is not the attack it claims to be. Project with task.threat.project.",
    )  # fmt: skip


def moved(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that the attack touched the images it was given."""
    name, threshold = "images moved", "< 100% of the attacked images unmoved"
    attacked, unmoved = measured.adversarial.total("attacked"), measured.adversarial.total("unmoved")
    if not attacked or measured.cell.threat.eps == 0:
        return skip(name, threshold, "There was no image to move, or no ball to move it in.")
    if measured.made_elsewhere:
        return skip(name, threshold, "The images come from a file, which need not have one for each that is attacked.")
    idle = unmoved == attacked
    meaning = (
        f"{measured.attack_name} returned every image as it was: nothing was attacked."
        if idle
        else "The attack returned other images than it was given."
    )
    return check(name, "invalid" if idle else "pass", unmoved / attacked, threshold, attacked, meaning)


def asked(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that an attack of many steps asked the model it attacks, as often as there are images at least."""
    name, threshold = "model asked", ">= 1 pass an attacked image"
    attacked, meter = measured.adversarial.total("attacked"), measured.adversarial.meter
    if not attacked or not measured.iterative or measured.cell.threat.eps == 0:
        return skip(name, threshold, "No image was attacked, or none in several steps.")
    share = (meter.forwards + meter.backwards) / attacked
    meaning = (
        f"{measured.attack_name} takes many steps, yet {attacked} images cost it {meter.forwards} forwards and "
        f"{meter.backwards} backwards of the model it was given: it climbed another one, or a part of this one behind "
        "the defense. Craft on the model that craft() is given."
        if share < 1
        else "The attack asked the model that it was given."
    )
    return check(name, "invalid" if share < 1 else "pass", share, threshold, attacked, meaning)


def step_size(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """Compare the steps that were really taken with the ball."""
    found, name = measured.probes["trace"], "step size"
    if not found["n"]:
        return skip(name, "<= 50% of the paths", "No path was recorded: nothing iterative, or no robust image.")
    wrong, short = found["whole"] / found["n"], found["short"] / found["n"]
    fault = wrong > 0.5 or short > 0.5
    meaning = (
        f"On {found['whole']} of {found['n']} images every step was as long as eps, so the attack only jumps between "
        "corners of the ball (CLIP kept 6.57 % where 0.53 % was true). Take a smaller step."
        if wrong > 0.5
        else f"On {found['short']} of {found['n']} images all steps together are shorter than eps: the attack cannot "
        "cross its ball. Is eps in other units than the steps?"
        if short > 0.5
        else "Steps are smaller than the ball and can cross it."
    )
    return check(name, "suspect" if fault else "pass", max(wrong, short), "<= 50% of the paths", found["n"], meaning)


def best_iterate(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that no success on the way was thrown away (indicator I3)."""
    found, name = measured.probes["trace"], "best iterate"
    if not found["n"]:
        return skip(name, "= 0 images", "No path was recorded: nothing iterative, or no robust image.")
    if measured.fitted.training.randomized:
        return skip(name, "= 0 images", "Where answers are random, an iterate may err by chance.")
    return zero(
        name, found["silent"], "images", found["n"],
        "No iterate inside the ball fooled the model and was then given up.",
        f"{found['silent']} of {found['n']} images were won on the way and lost again at the end (indicator I3): "
        "return the best iterate, or the first that errs where task.stop_early is set.",
    )  # fmt: skip
