"""Figures that others published, to be read beside what this harness measures for the same row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from robench.contracts.threat_model import parse_eps
from robench.errors import SpecError, suggestion
from robench.evidence.card import Card

#: Keys of a [[published]] table that say which cards it is about.
WHICH = ("dataset", "victim", "defense", "attack", "surrogate", "eps")
_FIGURES = ("clean", "robust")
_WORDS = ("source", "note")


@dataclass(frozen=True)
class Published:
    """Hold one published row.

    Attributes:
        which: what selects the cards, as a request names it; ``surrogate = ""`` is white-box, and a key that is
            left out selects by nothing.
        clean: accuracy in [0, 1], if it was published.
        robust: accuracy under the attack in [0, 1], if it was published.
        source: where it was published.
        note: what differs there, or what is wrong with it.
    """

    which: Mapping[str, str | float]
    clean: float | None
    robust: float | None
    source: str
    note: str = ""


@dataclass(frozen=True)
class Pairing:
    """Hold a published row and the cards that measured the same."""

    published: Published
    cards: Sequence[Card] = field(default_factory=tuple)


def read_published(table: Any, where: str) -> Published:
    """Return one ``[[published]]`` table; SpecError says what of it cannot be used."""
    if not isinstance(table, dict):
        raise SpecError(f"{where}: write each published row as a [[published]] table.")
    known = (*WHICH, *_FIGURES, *_WORDS)
    for name, value in table.items():
        if name not in known:
            raise SpecError(f"{where}: '{name}' is no key of a published row; {suggestion(name, known)}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number if name in _FIGURES else isinstance(value, str) or (name == "eps" and number)):
            kind = "a number in percent" if name in _FIGURES else "text"
            raise SpecError(f"{where}: {name} of a published row must be {kind}, not {value!r}.")
    if not table.get("source"):
        raise SpecError(f"{where}: a published row needs its source, such as a paper and table.")
    if not any(name in table for name in _FIGURES):
        raise SpecError(f"{where}: a published row holds clean, robust, or both, in percent.")
    which = {name: parse_eps(table[name]) if name == "eps" else table[name] for name in WHICH if name in table}
    clean, robust = (_rate(table.get(name), name, where) for name in _FIGURES)
    return Published(which, clean, robust, table["source"], table.get("note", ""))


def _rate(percent: float | None, name: str, where: str) -> float | None:
    if percent is None:
        return None
    if not 0 <= percent <= 100:
        raise SpecError(f"{where}: {name} of a published row is in percent, and {percent:g} is not in 0..100.")
    return percent / 100


def pair(published: Iterable[Published], cards: Sequence[Card]) -> list[Pairing]:
    """Return each published row with the cards that its keys select.

    A component is selected by its label with all changed parameters, such as ``tecoa[epochs=5]``. A bare name selects
    the component as it comes, and if that was not run, every variant of it.
    """
    return [Pairing(row, _selected(row, cards)) for row in published]


def _selected(row: Published, cards: Sequence[Card]) -> list[Card]:
    found = list(cards)
    for key, wanted in row.which.items():
        says = [(card, *_says(card, key)) for card in found]
        exact = [card for card, label, _ in says if label == wanted or _close(label, wanted)]
        found = exact or [card for card, _, name in says if wanted and name == wanted]
    return found


def _says(card: Card, key: str) -> tuple[str | float, str]:
    """Return the card's label for a key, and the bare name."""
    cell = card.cell
    if key == "eps":
        return cell.threat.eps, ""
    if key == "surrogate" and (cell.surrogate is None or cell.surrogate_is_victim):
        return ("", "") if cell.surrogate is None else ("self", "self")
    record = getattr(cell, key)
    return record.label, record.name


def _close(one: str | float, other: str | float) -> bool:
    return isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-9)
