"""How lists, parameters and seeds are read from a command line."""

from __future__ import annotations

import re

from robench.errors import SpecError
from robench.plan.request_values import EMPTY, UNSET


def split_names(text: str) -> list[str]:
    """Split at commas outside brackets: ``none,tecoa[epochs=5,rank=4]`` is two names; ValueError for an empty one."""
    names, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            names.append(text[start:place])
            start = place + 1
    names.append(text[start:])
    stripped = [name.strip() for name in names]
    if not all(stripped):
        raise ValueError("empty")
    return stripped


def joined(values: tuple[list[str], ...]) -> tuple[str, ...]:
    """Return the names of a repeated option as one tuple."""
    return tuple(name for names in values for name in names)


def read_parameters(pairs: tuple[str, ...]) -> dict[str, str]:
    """Read ``role.name=value`` pairs, each named once; an empty text is written ``""``."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        owner, dot, name = key.partition(".")
        if not equals or not owner or not dot or not name:
            raise SpecError(f"-p {pair} is no parameter; write role.name=value, such as -p attack.steps=20.")
        if not value:
            raise SpecError(f"-p {key}= has no value ({UNSET}); give one, or leave -p {key} out for the default.")
        if key in found:
            raise SpecError(f"-p {key} is given twice, {found[key]} and {value}; give it once.")
        found[key] = "" if value in EMPTY else value
    return found


def read_seeds(names: tuple[str, ...]) -> tuple[int, ...]:
    """Read whole numbers from 0, as many digits as a card holds."""
    for name in names:
        if not re.fullmatch(r"[0-9]{1,18}", name):
            shown = ",".join(names) if len(names) < 9 else name
            raise SpecError(
                f"--seed takes whole numbers, not '{shown[:80]}'; write numbers from 0, of at most 18 digits, such as "
                "--seed 0,1."
            )
    return tuple(int(name) for name in names)


#: Seconds and bytes of what follows a number.
_AGES = {"h": 3600, "d": 86400, "w": 7 * 86400}
_SIZES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZES |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def read_age(text: str | None) -> float | None:
    """Read ``30d``, ``12h`` or ``8w`` as seconds."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)([hdw])", text.strip().lower())
    if found is None:
        raise SpecError(f"--older-than {text[:40]} is no age; write hours, days or weeks, such as 12h, 30d or 8w.")
    return float(found[1]) * _AGES[found[2]]


def read_size(text: str | None) -> int | None:
    """Read ``20GB``, ``1.5TB`` or ``500MiB`` as bytes."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,15}(?:\.\d+)?) ?([a-z]*)", text.strip().lower())
    if found is None or found[2].upper() not in _SIZES:
        raise SpecError(f"--max-size {text[:40]} is no size; write such as 500MB, 20GB or 1.5TB.")
    return int(float(found[1]) * _SIZES[found[2].upper()])


def in_bytes(size: int) -> str:
    """Write a size as people read it."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"
