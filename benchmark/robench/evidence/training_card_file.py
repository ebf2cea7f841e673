"""Cards of trainings as files: what is said of a training must follow from its curves and its recipe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robench.errors import CardError
from robench.evidence.files import parse
from robench.evidence.record_file import RecordFile
from robench.evidence.training_card import SCHEMA_VERSION, TrainingCard, by_epoch, reached

SCHEMA_FILE = Path(__file__).with_name("training.schema.json")


def is_training(text: bytes) -> bool:
    """Tell whether ``text`` means to be the card of a training; what cannot be read does not."""
    try:
        raw = parse(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(raw, dict) and raw.get("kind") == "training"


def _check(card: TrainingCard, where: str) -> None:
    for problem in _contradictions(card):
        raise CardError(f"{where} contradicts itself: {problem}")


def _contradictions(card: TrainingCard) -> Iterator[str]:
    """Yield, as sentences, what is said twice and not alike."""
    said, rows = card.reached, by_epoch(card.training.history)
    if said.epochs is not None and said.epochs != len(rows):
        yield f"{said.epochs} epochs were run, but the curves have {len(rows)}."
    if said.kept is not None and said.kept not in [row["epoch"] for row in rows]:
        yield f"the weights of epoch {said.kept} were kept, but the curves have no such epoch."
    follows = reached(card.training.history, card.training.recipe)
    for name in said.__struct_fields__:
        if getattr(said, name) != getattr(follows, name):
            words = name.replace("_", " ")
            yield f"{words} is {_said(said, name)}, but {_said(follows, name)} follows from the curves and the recipe."
    if card.training.recipe != {"model": card.victim.name, **card.victim.parameters}:
        yield "the recipe is not the victim's parameters."
    if card.cost.images != card.data.train_n:
        yield f"{card.data.train_n} images were trained on, but the cost counts {card.cost.images}."


def _said(record: Any, name: str) -> str:
    value = getattr(record, name)
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else f"{value:.10g}"


FILE = RecordFile(
    TrainingCard, SCHEMA_FILE, SCHEMA_VERSION, "robench training card", "training", "the card of a training", _check
)
schema, encode, decode, read, write = FILE.schema, FILE.encode, FILE.decode, FILE.read, FILE.write
