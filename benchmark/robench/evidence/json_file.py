"""Read JSON that came from anyone, strictly, and say where it leaves its schema."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any


def parse(text: bytes) -> Any:
    """Return the JSON values in ``text``; ValueError or RecursionError for what could mean two things, or nothing."""
    raw = json.loads(
        text,
        object_pairs_hook=_no_duplicates,
        parse_constant=_no_constant,
        parse_float=_finite,
        parse_int=_integer,
    )
    json.dumps(raw, ensure_ascii=False).encode()  # half a surrogate pair can be read, but never be written
    return raw


def fault(raw: Any, schema: Path) -> str:
    """Return where and how JSON values leave the schema in that file; empty if they follow it."""
    faults = sorted(_validator(schema).iter_errors(raw), key=lambda error: list(map(str, error.path)))
    if not faults:
        return ""
    place = ".".join(map(str, faults[0].path)) or "the top level"
    place = place if len(place) <= 200 else f"{place[:200]}..."
    return f"at {place}, {faults[0].message[:200]}"


@cache
def _validator(schema: Path) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))


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
