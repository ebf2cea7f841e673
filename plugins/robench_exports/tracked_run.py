"""What a card says, as an experiment tracker has it: parameters, metrics, tags and training curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from robench import Card

#: Parts of a card that are components.
_ROLES = ("dataset", "victim", "defense", "attack", "surrogate")


def run_name(card: Card) -> str:
    """Return the name of the card's file without its ending."""
    return card.file_name.removesuffix(".json")


def parameters(card: Card) -> dict[str, Any]:
    """Return what was asked for: the components, their parameters as ``ROLE.NAME``, the threat model, seed, images."""
    cell = card.cell
    found: dict[str, Any] = {}
    for role in _ROLES:
        record = getattr(cell, role)
        if record is not None:
            found[role] = record.label
            found |= {f"{role}.{name}": value for name, value in record.parameters.items()}
    if cell.trained_on is not None:
        found["trained_on"] = cell.trained_on.label
    found |= {
        "precision": cell.precision,
        "norm": cell.threat.norm,
        "eps": cell.threat.radius,
        "access": cell.threat.access,
        "seed": cell.seed,
        "n": cell.n,
        "gate": card.gate.level,
        "protocol": cell.protocol or None,
        "device": card.environment.device,
    }
    return {name: value for name, value in found.items() if value is not None}


def metrics(card: Card) -> dict[str, float]:
    """Return accuracies and their 95 % intervals as shares in [0, 1], and costs, whose names have their units.

    Under transfer the second accuracy is ``transfer_accuracy``: it is no robust accuracy.
    """
    attacked = "robust" if card.cell.surrogate is None else "transfer"
    found: dict[str, float | None] = {}
    for name, outcome in (("clean", card.clean), (attacked, card.robust)):
        found |= {
            f"{name}_accuracy": outcome.rate,
            f"{name}_accuracy_low": outcome.low,
            f"{name}_accuracy_high": outcome.high,
            f"{name}_top5_accuracy": None if outcome.top5 is None else outcome.top5 / outcome.n,
            f"{name}_macro_f1": outcome.macro_f1,
        }
    for stage in ("fit", "craft", "score", "gate"):
        cost = getattr(card.cost, stage)
        found |= {
            f"{stage}_seconds": cost.seconds,
            f"{stage}_ms_per_image": cost.ms_per_image,
            f"{stage}_forwards": cost.forwards,
            f"{stage}_backwards": cost.backwards,
            f"{stage}_peak_bytes": cost.peak_bytes,
            f"{stage}_joules": cost.joules,
        }
    found |= {
        "gate_share_of_passes": card.gate.share,
        "trainable_parameters": card.training.trainable,
        "parameters": card.model.parameters,
    }
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def tags(card: Card) -> dict[str, str]:
    """Return the verdict, the checks that did not pass, the card's id and the version of robench that wrote it."""
    failed = [check.name for check in card.gate.checks if check.status in ("suspect", "invalid")]
    return {
        "verdict": card.gate.verdict,
        "failed_checks": ", ".join(failed),
        "card": card.id,
        "robench": card.environment.robench,
    }


def curves(card: Card) -> list[tuple[int, Mapping[str, float]]]:
    """Return (step from 1, figures) of the defense's training, in order, as ``training/NAME``."""
    return [
        (step, {f"training/{name}": value for name, value in figures.items() if math.isfinite(value)})
        for step, figures in enumerate(card.training.history, start=1)
    ]
