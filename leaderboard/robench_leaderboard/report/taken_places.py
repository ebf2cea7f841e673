"""Whether a report's files may be written where they are asked for: those of other cards are not replaced."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from pathlib import Path

from robench.errors import StoreError
from robench_leaderboard.report.report_data import Report

#: In a folder of figures, the cards that they are of, one a line.
CARDS = "cards.txt"
#: In a folder of tables, a row a card.
CELLS = "cells.csv"
#: What a card is on the page.
_ANCHOR = re.compile(r'id="card-([0-9a-f]{12})"')
_TITLE = " | robench report</title>"


def check_folder(report: Report, folder: Path, option: str) -> None:
    """Raise StoreError if a folder has figures or tables of cards that are not in the report."""
    there = _lines(folder / CARDS) | _cells(folder / CELLS)
    lost = there - {attack.card.id for attack in report.cells}
    if lost:
        raise StoreError(
            f"{folder} has figures or tables of {_counted(lost)}, which would be overwritten; name another folder "
            f"with {option}, or empty it."
        )


def check_page(report: Report, page: Path) -> None:
    """Raise StoreError if a page that nobody named is there, and is of cards that are not in the report."""
    if not page.is_file():
        return
    text = page.read_text(encoding="utf-8", errors="replace")
    way = f"name another file with -o, or write -o {page} to replace it"
    if text and _TITLE not in text:
        raise StoreError(f"{page} is no report that robench wrote, and would be overwritten; {way}.")
    lost = set(_ANCHOR.findall(text)) - {attack.card.id[:12] for attack in report.cells}
    if lost:
        raise StoreError(f"{page} is the report of {_counted(lost)}, and would be overwritten; {way}.")


def _counted(lost: Collection[str]) -> str:
    several = len(lost) > 1
    return f"{len(lost)} card{'s' * several} not in this report ({min(lost)[:12]}{', ...' * several})"


def _lines(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    return {line for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if line}


def _cells(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return {row["card"] for row in csv.DictReader(file) if row.get("card")}
