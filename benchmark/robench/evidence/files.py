"""Files: written whole or not at all; from anyone, read up to a size, as strict JSON, and held to a schema."""

from __future__ import annotations

import json
import math
import os
import stat
from functools import cache
from pathlib import Path
from typing import Any

from robench.errors import CardError, StoreError

#: The largest cards are of 100 classes and 50,000 images and have less than a megabyte.
MOST_BYTES = 16_000_000


def write_whole(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` atomically, unless it already holds it; StoreError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_bytes() == content:
            return
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            scratch.write_bytes(content)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}); choose another folder with --out.") from None


def read_bounded(path: Path) -> bytes:
    """Return the content of a card's file.

    Raises:
        CardError: it is absent, no regular file (a pipe would never end), or larger than any card.
    """
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            kind = "a folder" if stat.S_ISDIR(state.st_mode) else "a pipe or a device"
            raise CardError(f"{path} is {kind}, not a card; name the JSON file that robench run wrote.")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise CardError(f"card {path} cannot be read ({getattr(error, 'strerror', None) or error}).") from None
    if len(content) > MOST_BYTES:
        raise CardError(
            f"{path} has {max(state.st_size, len(content)):,} bytes; a card has at most {MOST_BYTES:,}, so it was not "
            "written by robench run."
        )
    return content


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
