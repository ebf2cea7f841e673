"""Make text of anyone's (a card's, a model's) harmless to show: one line, bounded, nothing a terminal obeys."""

from __future__ import annotations

import unicodedata


def plain(text: object, limit: int = 120) -> str:
    """Return ``text`` on one line of at most ``limit``, without control or direction characters."""
    # Cut before the walk, so that a 10 MB name costs nothing.
    visible = (_visible(letter) for letter in str(text)[: 4 * limit])
    line = " ".join("".join(visible).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def as_file_name(text: str) -> str:
    """Return ``text`` with ``_`` for all but letters, digits, ``-``, ``_`` and ``.``."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in text)


def _visible(letter: str) -> str:
    return " " if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") else letter
