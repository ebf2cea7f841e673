"""Cards of trainings as files: validated when written and when read; nothing in them is executed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from robench.errors import CardError
from robench.evidence.atomic import write_whole
from robench.evidence.bounded import read_bounded
from robench.evidence.jsonfile import fault, parse
from robench.evidence.training import SCHEMA_VERSION, TrainingCard, by_epoch, reached

SCHEMA_FILE = Path(__file__).with_name("training.schema.json")


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a training's card, generated from its classes."""
    generated = msgspec.json.schema(TrainingCard)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "robench training card", **generated}


def encode(card: TrainingCard) -> bytes:
    """Return the card as indented JSON, keys in schema order, after validating it."""
    compact = msgspec.json.encode(card)
    _validate(json.loads(compact), "the new card of a training")
    return msgspec.json.format(compact, indent=1) + b"\n"


def decode(text: bytes, where: str) -> TrainingCard:
    """Return the card in ``text``; raise CardError naming ``where`` if it is none. Nothing in it is executed."""
    try:
        card = _converted(parse(text), where)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise CardError(f"{where} is not the card of a training: {str(error)[:300]}.") from None
    for problem in _contradictions(card):
        raise CardError(f"{where} contradicts itself: {problem}")
    return card


def read(path: Path) -> TrainingCard:
    """Return the card stored at ``path``."""
    return decode(read_bounded(path), str(path))


def write(card: TrainingCard, folder: Path) -> Path:
    """Write the card under its canonical name, atomically, unless the same bytes are there; return its path."""
    path = folder / card.file_name
    write_whole(path, encode(card))
    return path


def is_training(text: bytes) -> bool:
    """Tell whether ``text`` means to be the card of a training; what cannot be read does not."""
    try:
        raw = parse(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(raw, dict) and raw.get("kind") == "training"


def _converted(raw: Any, where: str) -> TrainingCard:
    try:
        return msgspec.convert(raw, TrainingCard)
    except msgspec.ValidationError:
        _validate(raw, where)
        raise


def _validate(raw: Any, where: str) -> None:
    problem = fault(raw, SCHEMA_FILE)
    if problem:
        raise CardError(f"{where} does not follow training schema {SCHEMA_VERSION}: {problem}.")


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
