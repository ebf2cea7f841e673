"""Figures that others published, to be read beside what this harness measures for the same row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from robench.contracts.parameters import format_value
from robench.contracts.threat_model import parse_eps
from robench.errors import SpecError, suggestion
from robench.evidence.card import Card, ComponentRecord
from robench.plan.references import split_reference

#: Keys of a [[published]] table that say which cards it is about.
WHICH = ("dataset", "victim", "defense", "attack", "surrogate", "eps")
_FIGURES = ("clean", "robust", "clean_top5", "robust_top5")
_WORDS = ("source", "note")


@dataclass(frozen=True)
class Published:
    """Hold one published row.

    Attributes:
        which: what selects the cards, as a request names it; ``surrogate = ""`` is white-box, and a key that is
            left out selects by nothing.
        figures: accuracies in [0, 1], as far as they were published: ``clean``, ``robust``, and ``clean_top5`` and
            ``robust_top5``, for which the label may be among the five highest logits.
        source: where it was published.
        note: what differs there, or what is wrong with it.
    """

    which: Mapping[str, str | float]
    figures: Mapping[str, float]
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
        raise SpecError(f"{where}: a published row holds clean, robust, clean_top5 or robust_top5, in percent.")
    which = {name: parse_eps(table[name]) if name == "eps" else table[name] for name in WHICH if name in table}
    figures = {name: _rate(table[name], name, where) for name in _FIGURES if name in table}
    return Published(which, figures, table["source"], table.get("note", ""))


def _rate(percent: float, name: str, where: str) -> float:
    if not 0 <= percent <= 100:
        raise SpecError(f"{where}: {name} of a published row is in percent, and {percent:g} is not in 0..100.")
    return percent / 100


def pair(published: Iterable[Published], cards: Sequence[Card]) -> list[Pairing]:
    """Return each published row with the cards that its keys select.

    A component is selected by its label with all changed parameters, such as ``tecoa[epochs=5]``; a bare name is the
    component as it comes. If that was not run, every variant that has the parameters in the brackets is selected.
    """
    return [Pairing(row, _selected(row, cards)) for row in published]


def _selected(row: Published, cards: Sequence[Card]) -> list[Card]:
    found = list(cards)
    for key, wanted in row.which.items():
        says = [(card, *_says(card, key)) for card in found]
        exact = [card for card, label, _ in says if label == wanted or _close(label, wanted)]
        found = exact or [card for card, _, record in says if record is not None and is_variant(record, str(wanted))]
    return found


def _says(card: Card, key: str) -> tuple[str | float, ComponentRecord | None]:
    """Return the card's label for a key, and the component."""
    cell = card.cell
    if key == "eps":
        return cell.threat.eps, None
    if key == "surrogate" and (cell.surrogate is None or cell.surrogate_is_victim):
        return "" if cell.surrogate is None else "self", None
    record: ComponentRecord = getattr(cell, key)
    return record.label, record


def is_variant(record: ComponentRecord, wanted: str) -> bool:
    """Tell whether a component has the name, and the parameters in the brackets, that ``wanted`` says."""
    if not wanted:
        return False
    name, inside = split_reference(wanted)
    has = {key: format_value(key, value) for key, value in record.parameters.items()}
    return record.name == name and all(_same(has.get(key), value) for key, value in inside.items())


def _same(has: str | None, wanted: str) -> bool:
    """Compare two values as they are written: numbers by what they are."""
    if has is None or has.lower() == wanted.lower():  # False is written false, too
        return has is not None
    try:
        return math.isclose(float(Fraction(has)), float(Fraction(wanted)), rel_tol=1e-9)
    except (ValueError, ZeroDivisionError):
        return False


def _close(one: str | float, other: str | float) -> bool:
    return isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-9)
