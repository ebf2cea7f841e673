"""Cards as files: validated against the JSON Schema when written and when read; nothing in them is executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from robench.errors import CardError
from robench.evidence.atomic import write_whole
from robench.evidence.bounded import read_bounded
from robench.evidence.card import SCHEMA_VERSION, Card
from robench.evidence.consistency import check_tables
from robench.evidence.jsonfile import fault, parse
from robench.evidence.statistics import proportion

SCHEMA_FILE = Path(__file__).with_name("card.schema.json")


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a card, generated from the classes above."""
    generated = msgspec.json.schema(Card)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "robench card", **generated}


def encode(card: Card) -> bytes:
    """Return the card as indented JSON, keys in schema order, after validating it."""
    compact = msgspec.json.encode(card)
    _validate(json.loads(compact), "the new card")
    return msgspec.json.format(compact, indent=1) + b"\n"


def decode(text: bytes, where: str) -> Card:
    """Return the card in ``text``; raise CardError naming ``where`` if it is none. Nothing in it is executed."""
    try:
        card = _converted(parse(text), where)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise CardError(f"{where} is not a robench card: {str(error)[:300]}.") from None
    _check_counts(card, where)
    check_tables(card, where)
    return card


def read(path: Path) -> Card:
    """Return the card stored at ``path``."""
    return decode(read_bounded(path), str(path))


def write(card: Card, folder: Path) -> Path:
    """Write the card under its canonical name, atomically, unless the same bytes are there; return its path."""
    path = folder / card.file_name
    write_whole(path, encode(card))
    return path


def _converted(raw: Any, where: str) -> Card:
    """Return the card of JSON values; the classes check all that the schema does and faster, the schema says where."""
    try:
        return msgspec.convert(raw, Card)
    except msgspec.ValidationError:
        _validate(raw, where)
        raise


def _validate(raw: Any, where: str) -> None:
    if isinstance(raw, dict) and raw.get("kind") == "training":
        raise CardError(
            f"{where} is the card of a training, not of a cell; robench explain reads it, and the cards of cells are "
            "in the folder cards beside its own."
        )
    problem = fault(raw, SCHEMA_FILE)
    if problem:
        raise CardError(f"{where} does not follow card schema {SCHEMA_VERSION}: {problem}.")


def _check_counts(card: Card, where: str) -> None:
    for name, outcome in (("clean", card.clean), ("robust", card.robust)):
        try:
            correct = sum(outcome.mask())
        except CardError as error:
            raise CardError(f"{where} contradicts itself: {name}: {error}") from None
        if outcome.n != card.cell.n or correct != outcome.correct:
            raise CardError(
                f"{where} contradicts itself: {name} counts {outcome.correct} of {outcome.n}, its bits do not."
            )
        hits = outcome.hits
        if (hits is None) != (outcome.draws == 1) or (hits is not None and len(hits) != outcome.n):
            raise CardError(f"{where} contradicts itself: {name} has {outcome.draws} draws, but other hits per image.")
        if hits is not None and [2 * hit > outcome.draws for hit in hits] != outcome.mask():
            raise CardError(f"{where} contradicts itself: the {name} bits are not the majority of the draws.")
        if hits is not None and max(hits) > outcome.draws:
            raise CardError(f"{where} contradicts itself: {name} counts more hits than draws.")
        if proportion(outcome.rate * outcome.n, outcome.n) != (outcome.low, outcome.high):
            raise CardError(f"{where} contradicts itself: the {name} interval does not follow from its counts.")
