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
