"""The card of a training: how one model that came without weights was trained, and what came of it.

The classes below are the schema; ``training.schema.json`` beside this file is generated from them, as for the cards of
cells. What came of a training follows from its curves and its recipe, and is checked against them when a card is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from robench.evidence.card import (
    ComponentRecord,
    Cost,
    Digest,
    Environment,
    FiledRecord,
    Natural,
    Positive,
    Record,
    TrainingRecord,
)

SCHEMA_VERSION = 1

#: Dotted paths of what may differ between two trainings of one model on one machine; all else is deterministic.
CLOCKS = ("created", "cost.seconds", "cost.peak_bytes", "cost.joules", "environment")

#: Above it, floats no longer tell neighbouring whole numbers apart.
_MOST = 2**53


class TrainingData(Record, frozen=True, kw_only=True):
    """Pin the images and labels that were trained on; those kept for validation are among them."""

    shape: Annotated[tuple[int, int, int], Meta(description="channels, height, width")]
    classes: list[str]
    train: Annotated[Digest, Meta(description="sha256 of the training images and labels served, in order")]
    train_n: Positive


class Reached(Record, frozen=True, kw_only=True):
    """Say what came of a training, as far as its curves and its recipe tell."""

    epochs: Annotated[Natural | None, Meta(description="epochs that were run; null if the curves name none")] = None
    allowed: Annotated[Natural | None, Meta(description="the recipe's `epochs`")] = None
    stopped_early: Annotated[bool | None, Meta(description="fewer epochs were run than allowed")] = None
    kept: Annotated[
        int | None,
        Meta(
            description="the epoch whose weights were kept, as the curves number it: that of the lowest validation "
            "loss where the recipe has `patience`, the last where that is 0; null where the recipe has none"
        ),
    ] = None
    validation_loss: Annotated[float | None, Meta(description="of the epoch kept")] = None
    validation_accuracy: Annotated[float | None, Meta(description="of the epoch kept")] = None
    loss: Annotated[float | None, Meta(description="on the training images, in the last epoch")] = None
    accuracy: Annotated[float | None, Meta(description="on the training images, in the last epoch")] = None


class TrainingCard(FiledRecord, frozen=True, kw_only=True):
    """Hold the training of one model that came without weights."""

    kind: Annotated[Literal["training"], Meta(description="tells this card from that of a cell")] = "training"
    schema_version: Literal[1] = 1
    id: Annotated[Digest, Meta(description="fingerprint of the model, on its dataset and with its seed")]
    created: Annotated[str, Meta(description="UTC time at which it was recorded")]
    dataset: ComponentRecord
    victim: Annotated[ComponentRecord, Meta(description="the model, whether it is attacked or the attacker's own")]
    members: Annotated[list[ComponentRecord], Meta(description="the models that it is made of, if it is")] = []
    seed: int
    data: TrainingData
    training: TrainingRecord
    reached: Reached
    weights: Annotated[Digest, Meta(description="sha256 of the model's tensors")]
    cost: Cost
    environment: Annotated[Environment, Meta(description="of the run that recorded it")]
    clocks: Annotated[list[str], Meta(description="what may differ between two trainings; all else is deterministic")]

    @property
    def stem(self) -> str:
        """Return dataset, model, seed and the start of the fingerprint."""
        return "-".join([self.dataset.name, self.victim.name, f"seed{self.seed}", self.id[:8]])


def reached(history: Sequence[Mapping[str, float]], recipe: Mapping[str, Any]) -> Reached:
    """Return what came of a training.

    Args:
        history: the points that were logged; ``epoch``, ``loss``, ``accuracy``, ``validation_loss`` and
            ``validation_accuracy`` are understood, and whatever else there is is left alone.
        recipe: the model's parameters; ``epochs`` and ``patience`` are understood.
    """
    allowed, rows = _whole(recipe.get("epochs")), by_epoch(history)
    if not rows:
        return Reached(allowed=allowed)
    kept, last = _selected(rows, _whole(recipe.get("patience"))), rows[-1]
    return Reached(
        epochs=len(rows),
        allowed=allowed,
        stopped_early=None if allowed is None else len(rows) < allowed,
        kept=None if kept is None else int(kept["epoch"]),
        validation_loss=None if kept is None else kept.get("validation_loss"),
        validation_accuracy=None if kept is None else kept.get("validation_accuracy"),
        loss=last.get("loss"),
        accuracy=last.get("accuracy"),
    )


def by_epoch(history: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Return the logged points, those of one epoch joined, in order; empty unless each names a whole epoch."""
    rows: dict[float, dict[str, float]] = {}
    for point in history:
        epoch = point.get("epoch", 0.5)
        if not float(epoch).is_integer() or abs(epoch) > _MOST:
            return []
        rows.setdefault(epoch, {}).update(point)
    return list(rows.values())


def _selected(rows: Sequence[dict[str, float]], patience: int | None) -> dict[str, float] | None:
    """Return the epoch whose weights the model has; None if the curves do not tell."""
    if patience is None:
        return None
    if not patience:
        return rows[-1]
    if not all("validation_loss" in row for row in rows):
        return None
    return min(rows, key=lambda row: row["validation_loss"])  # the first of equals, as early stopping counts


def _whole(value: Any) -> int | None:
    """Return a parameter that is a count; None for any other."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
