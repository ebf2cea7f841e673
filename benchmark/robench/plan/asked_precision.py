"""``--precision``: which cells it is for, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from robench.contracts.components import Attack
from robench.contracts.search_precision import EXACT, Precision
from robench.contracts.threat_model import ThreatModel


def searches(attack: Attack, threat: ThreatModel) -> bool:
    """Tell whether an attack asks a model anything: images from a file and corruptions are what they are."""
    return not attack.made_elsewhere and threat.ball


def precision_of(asked: Precision, attack: Attack, threat: ThreatModel, device: str) -> Precision:
    """Return what a cell's search is computed in; TF32 is a format of NVIDIA's GPUs, and float32 on all else."""
    there = asked != "tf32" or device.startswith("cuda")
    return asked if there and searches(attack, threat) else EXACT


def precision_notes(asked: Iterable[Precision], device: str) -> Iterator[str]:
    """Yield what a user has to know of the precisions that a run asks for, each sentence once."""
    if "tf32" in asked and not device.startswith("cuda"):
        yield (
            f"TF32 is a number format of NVIDIA's GPUs: on {device} --precision tf32 searches in float32, as the cards "
            "say."
        )
