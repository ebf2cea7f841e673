"""Which checks say nothing of an attack, since they ask how well each image by itself was attacked."""

from __future__ import annotations

from collections.abc import Set

from robench.contracts.components import Attack
from robench.evidence.card import Check
from robench.evidence.check_verdict import NOT_APPLICABLE, skip
from robench.gate.measurement import Measurement
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


def where_applicable(made: Check, measured: Measurement) -> Check:
    """Return the check as it was made, or as not applicable where it accuses an attack of what it does not claim."""
    attack: Attack = type_of(measured.cell.attack, Attack)
    if attack.shared and made.name in IMAGE_BY_IMAGE and made.status != "pass":
        return skip(made.name, made.threshold, SHARED)
    return made
