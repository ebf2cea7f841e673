"""Files: written whole or not at all; from anyone, read up to a size, as strict JSON, and held to a schema."""

from __future__ import annotations

import json
import math
import os
import stat
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from robench.errors import CardError, RobenchError, StoreError
from robench.evidence.temporary_files import collect_beside

#: The largest cards are of 100 classes and 50,000 images and have less than a megabyte.
MOST_BYTES = 16_000_000


def ready_folder(folder: Path, option: str = "--out") -> None:
    """See that a folder can be made and written to, before the work whose result it is for; StoreError if it cannot be.

    What is not there yet is not left behind: the work may still be refused.
    """
    try:
        _try_to_write(folder, None)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"{folder} cannot be written ({reason}); choose another folder with {option}.") from None


def ready_file(file: Path, option: str = "--out") -> None:
    """See that a file can be written, before the work whose result it is for; StoreError if it cannot be."""
    if file.is_dir():
        raise StoreError(f"{file} is a folder, where a file is to be written; name a file with {option}.")
    ready_folder(file.parent, option)
    try:
        if os.path.exists(file):
            file.open("ab").close()
        else:
            _try_to_write(file.parent, file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"{file} cannot be written ({reason}); name another file with {option}.") from None


def _try_to_write(folder: Path, file: Path | None) -> None:
    """Make a folder, and a file in it, and take away again what was not there."""
    made = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if file is None:
            tempfile.TemporaryFile(dir=folder).close()
        else:
            file.touch()
            file.unlink()
    finally:
        for place in made:
            with suppress(OSError):  # another process has begun to use it
                place.rmdir()


def write_whole(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` atomically, unless it already holds it; StoreError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_bytes() == content:
            return
        collect_beside(path)
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            scratch.write_bytes(content)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}); choose another folder with --out.") from None


def read_bounded(
    path: Path,
    what: str = "card",
    other: str = "the JSON file that robench run wrote",
    most: int = MOST_BYTES,
    kind: type[RobenchError] = CardError,
) -> bytes:
    """Return the content of a card's file, or of another kind of text.

    Args:
        path: the file.
        what: what it should be, in one word.
        other: what to name instead.
        most: the most bytes that such a file has.
        kind: the error to raise.

    Raises:
        CardError: or ``kind``: it is absent, no regular file (a pipe would never end), or larger than any such file.
    """
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            found = "a folder" if stat.S_ISDIR(state.st_mode) else "a pipe or a device"
            raise kind(f"{path} is {found}, not a {what}; name {other}.")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise kind(f"{what} {path} cannot be read ({reason}); name {other}.") from None
    if len(content) > most:
        raise kind(
            f"{path} has {max(state.st_size, len(content)):,} bytes; a {what} has at most {most:,}: name {other}."
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
