"""Which checks say nothing of an attack, since they ask how well each image by itself was attacked."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

import torch

from robench.contracts.components import Attack, Defense
from robench.contracts.threat_model import ThreatModel
from robench.evidence.card import Check
from robench.evidence.check_verdict import NOT_APPLICABLE, skip
from robench.gate.measurement import Measurement
from robench.gate.probe_context import ProbeContext
from robench.plan.cell import type_of

#: Checks of how well each image was attacked: by its own steps, or beside what other attacks win on it.
IMAGE_BY_IMAGE: Set[str] = frozenset(
    {
        "model asked", "undefended victim falls", "step size", "best iterate", "converged", "more steps",
        "accuracy falls with eps", "unbounded attack", "one step <= many steps", "cheaper attack <= dearer",
        "transfer <= white-box", "stronger attack", "another loss", "measured slopes <= gradients",
        "queries <= gradients", "noise <= gradients", "binarization",
    }
)  # fmt: skip

SHARED = (
    f"{NOT_APPLICABLE}one perturbation serves all images, so that one made for each image may win what this leaves "
    "standing; the card speaks for no row."
)

#: Checks of an attacker who searches a ball: that the model can be climbed, and that it was climbed well.
OF_A_BALL: Set[str] = IMAGE_BY_IMAGE | {
    "robust <= clean", "gradients present", "gradients true", "gradients useful", "logit scale",
    "declared gradient", "straight-through path", "straight-through leads", "stable loss",
}  # fmt: skip

CORRUPTED = (
    f"{NOT_APPLICABLE}common corruptions are drawn without asking the model, from no ball in which an attacker "
    "searches; the number says how it answers on such images, and nothing of an attacker."
)

#: Checks that climb a loss in a ball that has no direction: where they were not made, it is for that.
OF_SLOPES: Set[str] = frozenset(
    {
        "gradients present", "gradients true", "gradients useful", "logit scale", "step size", "best iterate",
        "converged", "more steps", "accuracy falls with eps", "unbounded attack", "one step <= many steps",
        "measured slopes <= gradients", "binarization",
    }
)  # fmt: skip

COUNTED = (
    f"{NOT_APPLICABLE}L0 counts pixels, and no step along a gradient leads through it; what stands is tried pixel by "
    "pixel, by the harness's own Sparse-RS, by one exact step on the linearised model, and by random pixels."
)

#: Checks that search a ball in ways in which no square is searched.
OF_NO_SQUARE: Set[str] = frozenset({"measured slopes <= gradients", "binarization"})

PATCHED = (
    f"{NOT_APPLICABLE}a patch is one square anywhere, which this check does not search; what stands is tried by the "
    "harness's own patches, climbed or found by queries, by one exact step on the linearised model, and by random "
    "patches."
)

#: Inside a square any colour may be, so that gradients are looked at where pixels are climbed, as in this ball.
CLIMBED = ThreatModel("Linf", 8 / 255)

#: Probes of a defended victim that search the ball, by the norms in which they have none to search.
SEARCHING = {"corruption": ("path", "gradients", "strength", "landscape"), "L0": ("gradients",)}


def seen_by(probe: str, context: ProbeContext) -> ProbeContext:
    """Return what a probe may look at: no image where it would search a ball and there is none."""
    climbed = context.task.threat.norm == "patch" or (context.task.threat.norm == "L0" and context.climbed)
    if probe == "gradients" and climbed and context.task.threat.eps:
        return replace(context, task=context.task.replace(threat_model=CLIMBED))
    if probe not in SEARCHING.get(context.task.threat.norm, ()):
        return context
    nothing = torch.zeros_like(context.clean)
    return replace(context, clean=nothing, standing=nothing, defense=Undeclared())


class Undeclared(Defense):
    """Stand in for a defense where nothing is to be asked of its gradients."""

    name = "undeclared"


def where_applicable(made: Check, measured: Measurement) -> Check:
    """Return the check as it was made, or as not applicable where it accuses an attack of what it does not claim."""
    if not measured.cell.threat.ball and made.name in OF_A_BALL and made.status != "pass":
        return skip(made.name, made.threshold, CORRUPTED)
    if measured.cell.threat.norm == "L0" and made.name in OF_SLOPES and made.status == "skipped":
        return skip(made.name, made.threshold, COUNTED)
    if measured.cell.threat.norm == "patch" and made.name in OF_NO_SQUARE and made.status == "skipped":
        return skip(made.name, made.threshold, PATCHED)
    attack: Attack = type_of(measured.cell.attack, Attack)
    unasked = made.name == "model asked" and made.status == "invalid" and not made.value  # nothing was fitted to it
    if attack.shared and made.name in IMAGE_BY_IMAGE and made.status != "pass" and not unasked:
        return skip(made.name, made.threshold, SHARED)
    return made
