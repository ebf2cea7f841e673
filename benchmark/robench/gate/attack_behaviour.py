"""How does the judged attack behave, seen from the model it queries?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from torch import Tensor

from robench.contracts.task import Task
from robench.contracts.threat_model import BALL_TOLERANCE, ThreatModel, counts
from robench.errors import ContractError
from robench.evidence.card import Check
from robench.evidence.check_rules import SHARES
from robench.evidence.check_verdict import check, share, skip, zero
from robench.evidence.compound_rules import MOVING
from robench.gate.measurement import Measurement
from robench.gate.pass_budget import Exhausted
from robench.gate.probe_context import AttackContext
from robench.gate.query_paths import QueryPath, QueryPaths
from robench.runtime.out_of_memory import is_out_of_memory

#: Images on which the eps = 0 identity is tried; it may take every step, so few.
IDENTITY_IMAGES = 4
#: Images whose path through the attack is recorded.
TRACE_IMAGES = 8
#: Share of the recorded paths whose steps may be as long as the ball is wide, or too short to cross it.
BAD_STEPS = SHARES["step size"].limits[0]
#: A step counts as the whole ball from this share of eps.
WHOLE = 0.99
#: I4: over how many of the last iterates the loss is looked at.
LAST = 10


def probe(probed: AttackContext) -> dict[str, Any]:
    """Return what the attack does with eps = 0, and what its paths on a few surviving images look like."""
    return {"identity": _identity(probed), "trace": _trace(probed)}


def _identity(probed: AttackContext) -> dict[str, int]:
    """Return how many images move at eps = 0; a dear attack is stopped once it has used its passes.

    What is stopped has returned nothing. That it asked about nothing but the clean images is all that is known then.
    """
    task, test = probed.context.task, probed.context.test
    paid = probed.budget.images("identity", probed.cost, min(IDENTITY_IMAGES, len(test)))
    count = max(paid, 1)
    batch = next(test[:count].batches(count, task.device))
    nothing = ThreatModel(task.threat.norm, 0.0, task.threat.access)
    task = task.replace(threat_model=nothing, indices=batch.indices)
    asked = {"elsewhere": 0}
    budget = probed.budget
    last = budget.spent() + min(budget.left, max(budget.part("identity"), probed.cost * paid))

    def note(_module: Any, inputs: tuple[Tensor, ...]) -> None:
        known = (inputs[0].detach()[:, None] == batch.images[None]).flatten(2).all(2).any(1)
        asked["elsewhere"] += int((~known).sum())
        if budget.spent() + len(inputs[0]) * probed.context.price > last:
            raise Exhausted

    handle = probed.target.register_forward_pre_hook(note)
    try:
        moved = probed.move(batch.images, batch.labels, task)
    except Exhausted:
        return {"n": count, "moved": 0, "finished": 0, "elsewhere": asked["elsewhere"]}
    except Exception as error:  # a plugin may raise anything
        if is_out_of_memory(error):
            raise
        raise ContractError(
            f"{probed.attack.name} fails with eps = 0 ({type(error).__name__}: {error}); it must return the images "
            "unchanged there."
        ) from error
    finally:
        handle.remove()
    return {"n": count, "moved": int((moved != batch.images).flatten(1).any(1).sum()), "finished": 1, "elsewhere": 0}


def _trace(probed: AttackContext) -> dict[str, Any]:
    """Record the queries of an iterative white-box attack on images it could not win."""
    found = {"n": 0, "whole": 0, "short": 0, "silent": 0, "moving": 0}
    if not probed.climbs:
        return found
    context = probed.context
    count = probed.budget.images("trace", probed.cost + context.verdict, min(TRACE_IMAGES, int(probed.survivors.sum())))
    rows = context.some(probed.survivors, count, "trace")
    # Together, unless answers are drawn: then one after the other, so that each draws what it always drew.
    for part in [[row] for row in rows] if context.defense.randomized else [rows]:
        for images, labels, indices in context.batches(part):
            task = context.task.replace(indices=indices)
            paths, final = _trace_queries(probed, images, labels, task)
            lost = context.wrong(final, labels).tolist() if paths else []
            reached = task.threat.distance(images, final).tolist()
            for place, path in enumerate(paths):
                if len(path.losses) >= 2:
                    found["n"] += 1
                    for name, seen in _describe(path, not lost[place], reached[place], task.threat).items():
                        found[name] += seen
    return found


def _trace_queries(probed: AttackContext, images: Tensor, labels: Tensor, task: Task) -> tuple[list[QueryPath], Tensor]:
    """Return, image by image, how the attack moved from query to query, and the points it returned."""
    paths = QueryPaths(images, labels, task.threat)
    handle = probed.target.register_forward_hook(paths.note)
    try:
        final = probed.move(images, labels, task)
    except Exhausted:
        return [], images
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return [], images
    finally:
        handle.remove()
    return paths.by_image(), task.threat.project(images, final.detach())


def _describe(path: QueryPath, stands: bool, reached: float, threat: ThreatModel) -> dict[str, bool]:
    moved = [step for step in path.steps if step > 1e-7]
    return {
        # Every move is as long as the ball is wide: the attack only jumps between its corners.
        # The side of a square, or how many pixels moved, says nothing of how far they did.
        "whole": not counts(threat.norm) and len(moved) > 1 and min(moved) >= WHOLE * threat.eps,
        # All moves together could not have reached the edge of the ball, and did not.
        # One that finds no way at all is no matter of step size.
        "short": len(moved) > 0 and reached < 0.5 * threat.eps - BALL_TOLERANCE and sum(path.steps) < threat.eps,
        "silent": any(path.won) and stands,
        "moving": _still_moving(path.losses),
    }


def _still_moving(losses: Sequence[float]) -> bool:
    """Return indicator I4: the running best loss still rises over the last iterates."""
    best = list(accumulate(losses, max))
    rise = best[-1] - best[0]
    return rise > 0 and len(best) > LAST and (best[-1] - best[-LAST]) / rise > MOVING


def identity(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that nothing moves when nothing may."""
    found = measured.probes["identity"]
    if not found["finished"] and found["elsewhere"]:
        why = "Not told: it asked about other points than the images, and was stopped at its share of passes."
        return skip("eps = 0", "= 0 images moved", why)
    return zero(
        "eps = 0", found["moved"], "images moved", found["n"],
        "With eps = 0 the images come back bit by bit, so robust accuracy at eps = 0 is the clean accuracy."
        if found["finished"]
        else "With eps = 0 it asked about nothing but the clean images, until its share of the gate's passes was used.",
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
    threshold = f"<= {BAD_STEPS:.0%} of the paths"
    if not found["n"]:
        why = measured.too_dear("trace") or "No path was recorded: nothing iterative, or no robust image."
        return skip(name, threshold, why)
    jumps = found["whole"] >= found["short"]
    return share(
        name, max(found["whole"], found["short"]), found["n"], (BAD_STEPS, 1.0),
        "Steps are smaller than the ball and can cross it.",
        f"On {found['whole']} of {found['n']} images every step was as long as eps, so the attack only jumps between "
        "corners of the ball (CLIP kept 6.57 % where 0.53 % was true). Take a smaller step."
        if jumps
        else f"On {found['short']} of {found['n']} images all steps together are shorter than eps: the attack cannot "
        "cross its ball. Is eps in other units than the steps?",
        threshold=threshold,
        worst="suspect",
    )  # fmt: skip


def best_iterate(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that no success on the way was thrown away (indicator I3)."""
    found, name = measured.probes["trace"], "best iterate"
    if not found["n"]:
        why = measured.too_dear("trace") or "No path was recorded: nothing iterative, or no robust image."
        return skip(name, "= 0 images", why)
    if measured.fitted.training.randomized:
        return skip(name, "= 0 images", "Where answers are random, an iterate may err by chance.")
    return zero(
        name, found["silent"], "images", found["n"],
        "No iterate inside the ball fooled the model and was then given up.",
        f"{found['silent']} of {found['n']} images were won on the way and lost again at the end (indicator I3): "
        "return the best iterate, or the first that errs where task.stop_early is set.",
    )  # fmt: skip
