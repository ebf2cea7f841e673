"""Find cards on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from robench.errors import CardError
from robench.evidence import card_file as cards_on_disk
from robench.evidence.card import Card


def read_cards(paths: Iterable[Path]) -> list[Card]:
    """Return the cards in these files and folders (``*.json``, not deeper), each id once, in order of id."""
    return newest(cards_on_disk.read(file) for path in paths for file in files(path))


def newest(cards: Iterable[Card]) -> list[Card]:
    """Keep, of the cards that share an id, the one recorded last; return them in order of id."""
    kept: dict[str, Card] = {}
    for card in cards:
        rival = kept.get(card.id)
        if rival is None or _age(card) > _age(rival):
            kept[card.id] = card
    return [kept[key] for key in sorted(kept)]


def files(path: Path) -> Iterator[Path]:
    """Yield the files of a folder that should be cards, or the file itself; CardError for a link in a folder."""
    if not path.is_dir():
        yield path
        return
    # Hidden files are another process's half-written cards.
    for file in sorted(file for file in path.glob("*.json") if not file.name.startswith(".")):
        if file.is_symlink():
            raise CardError(f"{file} is a symbolic link; put the card itself into the folder, or name it on its own.")
        yield file


def _age(card: Card) -> tuple[datetime, str, str]:
    """Return what orders two recordings of one cell; the last items only make equal times deterministic."""
    try:
        moment = datetime.fromisoformat(card.created)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        moment = datetime.min.replace(tzinfo=UTC)
    return moment, card.created, repr(card)
