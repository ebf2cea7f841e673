"""Find cards on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from robench.errors import CardError
from robench.evidence import card_file as cards_on_disk
from robench.evidence.card import Card
from robench.evidence.kept_card import effort


def read_cards(paths: Iterable[Path], warn: Callable[[str], None] | None = None) -> list[Card]:
    """Return the cards in these files and folders (``*.json``, not deeper), each id once, in order of id.

    Args:
        paths: card files, and folders of them.
        warn: is told what lies in a folder and is no card, which is then left out. Without it, and for a file that was
            named itself, that is a CardError.
    """
    return newest(card for path in paths for card in _cards(path, warn))


def _cards(path: Path, warn: Callable[[str], None] | None) -> Iterator[Card]:
    for file in _listed(path):
        try:
            yield _read(file, inside=file != path)
        except CardError as error:
            if warn is None or file == path:
                raise
            warn(f"left out: {error}")


def _read(file: Path, *, inside: bool) -> Card:
    if inside and file.is_symlink():
        raise CardError(f"{file} is a symbolic link; put the card itself into the folder, or name it on its own.")
    return cards_on_disk.read(file)


def read_tolerantly(paths: Iterable[Path]) -> tuple[list[Card], list[str]]:
    """Return the cards as read_cards does, and a sentence for each file, named or found, that is refused."""
    cards, refused = [], []
    for path in paths:
        for file in _listed(path):
            try:
                cards.append(_read(file, inside=file != path))
            except CardError as error:
                refused.append(str(error))
    return newest(cards), refused


def newest(cards: Iterable[Card]) -> list[Card]:
    """Keep, of the cards that share an id, the one that holds most, the last of those; return them in order of id.

    More is a harder gate, then more certificates. They are not put together: attestations are of whole cards.
    """
    latest: dict[str, Card] = {}
    for card in cards:
        rival = latest.get(card.id)
        if rival is None or _standing(card) > _standing(rival):
            latest[card.id] = card
    return [latest[key] for key in sorted(latest)]


def _listed(path: Path) -> Iterator[Path]:
    """Yield the files of a folder that should be cards, or the file itself."""
    if not path.is_dir():
        yield path
        return
    # Hidden files are another process's half-written cards.
    yield from sorted(file for file in path.glob("*.json") if not file.name.startswith("."))


def _standing(card: Card) -> tuple[tuple[float, ...], int, tuple[datetime, str, str]]:
    return effort(card)[:3], len(card.certificates), _age(card)


def _age(card: Card) -> tuple[datetime, str, str]:
    """Return what orders two recordings of one cell; the last items only make equal times deterministic."""
    try:
        moment = datetime.fromisoformat(card.created)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        moment = datetime.min.replace(tzinfo=UTC)
    return moment, card.created, repr(card)
