"""Read one card, judged together with the cards that lie beside it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from robench.errors import CardError
from robench.evidence import card_file
from robench.evidence.card import Card
from robench.evidence.row_verdict import judge_together


def judged_beside(path: Path) -> Card:
    """Return the card in this file with the verdict that all cards of its folder give it."""
    card = card_file.read(path)
    return judged_with(card, cards_in(path.absolute().parent))


def judged_with(card: Card, others: Iterable[Card]) -> Card:
    """Return the card with the verdict that it has among ``others``; one of the same cell gives way to it."""
    return judge_together([card, *(other for other in others if other.id != card.id)])[0]


def card_files(places: Iterable[Path]) -> list[Path]:
    """Return the files that are named, and those in the folders that are, in order, each once.

    A results folder of ``robench run`` counts as its folder of cards; hidden files and links there are passed over.

    Raises:
        CardError: there are none.
    """
    named = list(places)
    found = dict.fromkeys(path for place in named for path in (_listed(place) if place.is_dir() else [place]))
    if not found:
        raise CardError(f"There are no cards in {', '.join(map(str, named))}; name card files or folders of them.")
    return list(found)


def cards_folder(place: Path) -> Path:
    """Return where the cards of a results folder lie; any other folder or file is returned as it is."""
    inside = place / "cards"
    return inside if inside.is_dir() else place


def _listed(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(cards_folder(folder).glob("*.json"))
        if not path.name.startswith(".") and not path.is_symlink()
    ]


def cards_in(folder: Path) -> list[Card]:
    """Return the cards in a folder; what is no card, or a link, is passed over."""
    found: dict[str, Card] = {}
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        if path.is_symlink() or path.name.startswith("."):
            continue
        try:
            card = card_file.read(path)
        except CardError:
            continue
        found[card.id] = card
    return list(found.values())
