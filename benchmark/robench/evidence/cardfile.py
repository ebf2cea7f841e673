"""Cards as files: validated against the JSON Schema when written and when read; nothing in them is executed."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from robench.errors import CardError
from robench.evidence.atomic import write_whole
from robench.evidence.bounded import read_bounded
from robench.evidence.card import SCHEMA_VERSION, Card
from robench.evidence.consistency import check_tables
from robench.evidence.statistics import proportion

SCHEMA_FILE = Path(__file__).with_name("card.schema.json")


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a card, generated from the classes above."""
    generated = msgspec.json.schema(Card)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "robench card", **generated}


@lru_cache(maxsize=1)
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))


def encode(card: Card) -> bytes:
    """Return the card as indented JSON, keys in schema order, after validating it."""
    compact = msgspec.json.encode(card)
    _validate(json.loads(compact), "the new card")
    return msgspec.json.format(compact, indent=1) + b"\n"


def decode(text: bytes, where: str) -> Card:
    """Return the card in ``text``; raise CardError naming ``where`` if it is none. Nothing in it is executed."""
    try:
        raw = json.loads(
            text,
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
        json.dumps(raw, ensure_ascii=False).encode()  # half a surrogate pair can be read, but never be written
        card = _converted(raw, where)
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
    problem = next(iter(sorted(_validator().iter_errors(raw), key=lambda error: list(map(str, error.path)))), None)
    if problem is not None:
        place = ".".join(map(str, problem.path)) or "the top level"
        place = place if len(place) <= 200 else f"{place[:200]}..."
        raise CardError(f"{where} does not follow card schema {SCHEMA_VERSION}: at {place}, {problem.message[:200]}.")


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


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _integer(text: str) -> int:
    # 18 digits always fit into the 64 bits that cards are written with.
    if len(text) > 18:
        raise ValueError(f"{text[:40]} is too large a number")
    return int(text)
