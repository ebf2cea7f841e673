"""Which card a published figure is a figure of: the same components and parameters, and nothing else changed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from robench.contracts.parameters import Value, format_value
from robench.contracts.search_precision import EXACT, searched_in
from robench.contracts.threat_model import radius_of
from robench.evidence.card import Card, ComponentRecord
from robench.plan.published_figures import UNATTACKED, Published, Stated

#: What stands before a protocol that robench knows.
_PROTOCOL = "protocol:"


@dataclass(frozen=True)
class Pairing:
    """Hold one published figure and the cards that measured the same.

    Attributes:
        published: the entry.
        figure: which of its figures.
        cards: one for each measurement; a clean one counts once, whatever attacks its row met.
        instead: where there is no card, how the nearest that was run differs, such as ``eps 0.1 for 0.05``.
    """

    published: Published
    figure: str
    cards: tuple[Card, ...] = ()
    instead: str = ""


def pair(published: Iterable[Published], cards: Sequence[Card]) -> list[Pairing]:
    """Return each published figure with the cards that it is a figure of; what is second-hand stands beside none.

    A component is the same if all that is stated of it is equal, and nothing but that was changed from its defaults.
    """
    same: dict[tuple[str, str], list[Card]] = defaultdict(list)
    for card in cards:
        same[card.cell.dataset.name, card.cell.victim.name].append(card)
    found = []
    for entry in published:
        if entry.second_hand:
            continue
        if entry.ledger and "victim" not in entry.which:
            found += [Pairing(entry, figure, instead="robench has no such row") for figure in entry.figures]
            continue
        names = tuple(entry.which[role].name if role in entry.which else None for role in ("dataset", "victim"))
        near = (
            [card for (dataset, victim), group in same.items() for card in group]
            if None in names
            else same.get((str(names[0]), str(names[1])), [])
        )
        found += [_pairing(entry, figure, near) for figure in entry.figures]
    return found


def beside(published: Iterable[Published], cards: Sequence[Card]) -> list[Pairing]:
    """Return only the figures that a card is beside."""
    there = {(card.cell.dataset.name, card.cell.victim.name) for card in cards}
    near = [entry for entry in published if "victim" in entry.which and _place(entry) in there]
    return [pairing for pairing in pair(near, cards) if pairing.cards]


def _place(entry: Published) -> tuple[str, str]:
    dataset = entry.which.get("dataset", Stated(""))
    return dataset.name, entry.which["victim"].name


def _pairing(entry: Published, figure: str, cards: Sequence[Card]) -> Pairing:
    exact: list[Card] = []
    nearest: tuple[int, float, str] = (10**6, 0.0, "")
    for card in cards:
        differs = differences(entry, figure, card)
        if differs is None:
            continue
        if not differs:
            exact.append(card)
            continue
        away = abs(card.cell.threat.eps - (entry.eps or 0.0))
        nearest = min(nearest, (len(differs), away, ", ".join(differs)))
    if not figure.startswith("robust"):
        once: dict[tuple[object, ...], Card] = {}
        for card in exact:
            once.setdefault(_unattacked(card), card)
        exact = list(once.values())
    return Pairing(entry, figure, tuple(exact), "" if exact else nearest[-1])


def _unattacked(card: Card) -> tuple[object, ...]:
    """Return what tells clean outcomes apart."""
    cell = card.cell
    return cell.dataset.label, cell.victim.label, cell.defense.label, cell.seed, card.model.defended, card.clean.bits


def differences(entry: Published, figure: str, card: Card) -> list[str] | None:
    """Return how what a card measured differs from what a figure is of; None where it is another row altogether."""
    cell = card.cell
    found: list[str] = []
    records = {
        **{role: getattr(cell, role) for role in UNATTACKED if role != "train_dataset"},
        "train_dataset": cell.trained_on,
    }
    for role, record in records.items():
        if role not in entry.which:
            continue
        stated = entry.which[role]
        if role != "train_dataset" and record.name != stated.name:
            return None
        found += _differences(role, record, stated)
    if entry.protocol.startswith(_PROTOCOL) and cell.protocol != entry.protocol.removeprefix(_PROTOCOL):
        found.append(f"protocol {cell.protocol or 'none'} for {entry.protocol.removeprefix(_PROTOCOL)}")
    return found + (_attacked(entry, card) if figure.startswith("robust") else [])


def _attacked(entry: Published, card: Card) -> list[str]:
    cell = card.cell
    found: list[str] = []
    if cell.precision != EXACT:
        found.append(f"a search{searched_in(cell.precision)}")
    if "attack" in entry.which:
        found += _differences("attack", cell.attack, entry.which["attack"])
    if "surrogate" in entry.which:
        stated = entry.which["surrogate"]
        if stated.name == "self" or cell.surrogate_is_victim:
            has = "self" if cell.surrogate_is_victim else cell.surrogate.label if cell.surrogate else "none"
            found += [] if has == stated.name else [f"surrogate {has} for {stated.label or 'none'}"]
        else:
            found += _differences("surrogate", cell.surrogate, stated)
    if entry.norm and cell.threat.norm != entry.norm:
        found.append(f"norm {cell.threat.norm} for {entry.norm}")
    if entry.eps is not None and not math.isclose(cell.threat.eps, entry.eps, rel_tol=1e-9):
        norm = cell.threat.norm
        found.append(f"eps {radius_of(cell.threat.eps, norm)} for {radius_of(entry.eps, norm)}")
    return found


def _differences(role: str, record: ComponentRecord | None, stated: Stated) -> list[str]:
    """Return each parameter that is another than stated, or that was changed and is not stated."""
    title = role.replace("_", " ")
    if record is None or record.name != stated.name:
        has = "none" if record is None else record.label
        return [] if record is None and not stated.name else [f"{title} {has} for {stated.label or 'none'}"]
    wanted = {**{key: value for key, value in stated.shared.items() if key in record.parameters}, **stated.parameters}
    found = []
    for key, value in wanted.items():
        if key in record.hashed:
            continue
        if key not in record.parameters or not same_value(key, record.parameters[key], value):
            has = format_value(key, record.parameters[key]) if key in record.parameters else "absent"
            found.append(f"{title} {key} {has} for {value}")
    return found + [
        f"{title} {key} {format_value(key, value)}, which is not stated"
        for key, value in sorted(record.changed.items())
        if key not in wanted and key not in record.hashed
    ]


def same_value(key: str, has: Value, stated: str) -> bool:
    """Compare a parameter with how it is written: numbers by what they are, so that 1e-3 is 0.001."""
    shown = "" if has == "" else format_value(key, has)
    if shown.lower() == stated.lower():  # False is written false, too
        return True
    if isinstance(has, str):
        return has == stated
    try:
        number = float(has) if isinstance(has, float) else float(Fraction(shown))
        return math.isclose(number, float(Fraction(stated)), rel_tol=1e-9)
    except (ValueError, ZeroDivisionError):
        return False
