"""Whether pages may be written into a folder: nobody else's file, and no other cards' ranking, is replaced."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from robench.errors import StoreError
from robench.evidence.plain_text import plain

#: File of a page -> what is in one that robench wrote.
MARKS = {
    "LEADERBOARD.md": b"<!-- Generated from the cards by robench; ",
    "index.html": b" | robench leaderboard</title>",
    "leaderboard.json": b'"boards": [',
}
#: The marks are near the beginning.
_HEAD = 4_000


def check_ours(folder: Path, option: str = "-o") -> None:
    """Raise StoreError if a page in the folder was not written by robench, which another site's may not be."""
    for name, mark in MARKS.items():
        path = folder / name
        if not path.is_file():
            continue
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if head and mark not in head:
            raise StoreError(
                f"{path} is no page that robench wrote, and would be overwritten; name another folder with {option}, "
                "or move it away."
            )


def check_rows(folder: Path, content: str, places: Sequence[Path], option: str = "-o") -> None:
    """Raise StoreError if the rankings in the folder have rows that the new ones, as JSON, lack.

    The pages of a folder whose own cards they are made of say what is there, and follow it.
    """
    if any(folder.resolve() in (place.resolve(), place.resolve().parent) for place in places):
        return
    try:
        there = list(_rows(json.loads((folder / "leaderboard.json").read_text(encoding="utf-8"))))
    except (OSError, ValueError, LookupError, TypeError):  # there is none
        return
    new = {key for key, _ in _rows(json.loads(content))}
    lost = [title for key, title in there if key not in new]
    if lost:
        raise StoreError(
            f"{folder} has the leaderboard of other cards, of whose rows {len(lost)} would be lost, such as "
            f"{plain(lost[0], 200)}; name another folder with {option}, or remove leaderboard.json there."
        )


def _rows(found: Any) -> Iterable[tuple[str, str]]:
    """Yield what each row is of, and how it is called."""
    for board in found["boards"]:
        setting = [board["test"], board["norm"], board["eps"], board["n"], board.get("protocol")]
        for row in board["rows"]:
            key = [*setting, row["victim"], row["defense"], row["seed"]]
            title = f"{row['title']} on {row['victim']['name']}, {board['dataset']}, {board['norm']} {board['radius']}"
            yield json.dumps(key, sort_keys=True), title
