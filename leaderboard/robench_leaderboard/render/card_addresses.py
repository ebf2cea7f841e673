"""Where a page finds the files of the cards that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from robench.evidence.card import Card

#: Returns the address of a card's file, relative to the page; empty if there is none.
CardAddress = Callable[[Card], str]


def no_address(_: Card) -> str:
    """Return that a card has no address."""
    return ""


def addresses_in(folders: Sequence[Path], out: Path) -> CardAddress:
    """Return the addresses of the cards that lie in a folder below ``out``, where the pages are written."""
    below = [folder for folder in folders if folder.is_dir() and _inside(folder, out) is not None]

    def address(card: Card) -> str:
        found = next((folder for folder in below if (folder / card.file_name).is_file()), None)
        return "" if found is None else quote(f"{_inside(found, out)}/{card.file_name}")

    return address


def _inside(folder: Path, out: Path) -> str | None:
    """Return a folder's path seen from ``out``, or None if it lies elsewhere."""
    try:
        return folder.resolve().relative_to(out.resolve()).as_posix()
    except ValueError:
        return None
