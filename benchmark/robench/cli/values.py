"""How lists, parameters and seeds are read from a command line."""

from __future__ import annotations

from robench.errors import SpecError


def split_names(text: str) -> list[str]:
    """Split at commas outside brackets: ``none,tecoa[epochs=5,rank=4]`` is two names."""
    names, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            names.append(text[start:place])
            start = place + 1
    names.append(text[start:])
    return [name.strip() for name in names if name.strip()]


def joined(values: tuple[list[str], ...]) -> tuple[str, ...]:
    """Return the names of a repeated option as one tuple."""
    return tuple(name for names in values for name in names)


def read_parameters(pairs: tuple[str, ...]) -> dict[str, str]:
    """Read ``role.name=value`` pairs."""
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or "." not in key:
            raise SpecError(f"-p {pair} is no parameter; write role.name=value, such as -p attack.steps=20.")
        found[key.strip()] = value.strip()
    return found


def read_seeds(names: tuple[str, ...]) -> tuple[int, ...]:
    """Read whole numbers."""
    try:
        return tuple(int(name) for name in names)
    except ValueError:
        raise SpecError(f"--seed takes whole numbers, not '{','.join(names)}'.") from None
