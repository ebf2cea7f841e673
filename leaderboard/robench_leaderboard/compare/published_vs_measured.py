"""Published figures beside measured ones, in the terminal and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from robench.evidence.plain_text import plain
from robench.plan.published_rows import Pairing
from robench_leaderboard.ranking.published_beside import COLUMNS, LEGEND, lines, notes
from robench_leaderboard.render.markdown import escape

if TYPE_CHECKING:
    from rich.console import Console


def print_published(pairings: Sequence[Pairing], console: Console) -> None:
    """Print the comparison, and what is known about a published row, below the ranking."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text("Published beside measured", "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    for name in COLUMNS:
        table.add_column(name, overflow="fold", justify="right" if "%" in name else "left")
    for line in lines(pairings):
        table.add_row(*map(Text, line))
    console.print(table)
    for note in notes(pairings):
        console.print(Text(plain(note, 400), "dim"))
    console.print(Text(LEGEND, "dim"))


def published_page(suites: Mapping[str, Sequence[Pairing]], others: Sequence[Pairing] = ()) -> str:
    """Return the comparison as Markdown.

    Args:
        suites: by the title of a suite, its figures.
        others: figures of the ledger that no suite states.
    """
    parts: list[tuple[str, Sequence[Pairing]]]
    parts = [(escape(title), pairings) for title, pairings in suites.items() if pairings]
    parts += [("Other published figures", others)] if others else []
    written = [line for title, pairings in parts for line in ["", f"## {title}", "", *_part(pairings)]]
    return "\n".join(["# Published beside measured", *written, "", LEGEND, ""])


def _part(pairings: Sequence[Pairing]) -> list[str]:
    rows = ["| " + " | ".join(COLUMNS) + " |", "|" + "--|" * len(COLUMNS)]
    rows += ["| " + " | ".join(escape(text) for text in line) + " |" for line in lines(pairings)]
    said = [f"- {escape(note, 400)}" for note in notes(pairings)]
    return [*rows, "", *said] if said else rows
