"""Published figures beside measured ones: does the published one lie in the measured interval?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from robench.contracts.threat_model import format_eps
from robench.evidence.card import Card, Outcome
from robench.evidence.plain_text import plain
from robench.evidence.statistics import wilson
from robench.plan.published_figures import Pairing
from robench_leaderboard.render.markdown import escape

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = ("row", "figure", "published %", "measured %", "published is", "verdict", "source")
#: The figures were measured by others on other images, weights and seeds.
LEGEND = (
    "Published beside measured: 'inside' means within the measured 95 % interval, otherwise by how many points it lies "
    "above or below the nearer end. The interval covers the images only."
)

Line = tuple[str, ...]


def lines(pairings: Sequence[Pairing]) -> list[Line]:
    """Return a line for each published figure and each card that measured the same."""
    found: list[Line] = []
    for pairing in pairings:
        row, source = pairing.published, plain(pairing.published.source, 60)
        for figure, stated in row.figures.items():
            name = _name(figure, pairing)
            if not pairing.cards:
                what = ", ".join(plain(value, 60) for value in row.which.values() if value != "")
                found.append((what, name, _percent(stated), "-", "not run", "-", source))
            for card in pairing.cards:
                measured = _measured(card.clean if figure.startswith("clean") else card.robust, figure)
                verdict = card.gate.verdict
                shown, where = (_interval(measured), _where(stated, measured)) if measured else ("-", "not defined")
                found.append((_title(card), name, _percent(stated), shown, where, verdict, source))
    return list(dict.fromkeys(found))


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
    for note in dict.fromkeys(pairing.published.note for pairing in pairings if pairing.published.note):
        console.print(Text(plain(note, 400), "dim"))
    console.print(Text(LEGEND, "dim"))


def published_page(title: str, pairings: Sequence[Pairing]) -> str:
    """Return the comparison as Markdown."""
    rows = ["| " + " | ".join(COLUMNS) + " |", "|" + "--|" * len(COLUMNS)]
    rows += ["| " + " | ".join(escape(text) for text in line) + " |" for line in lines(pairings)]
    notes = dict.fromkeys(pairing.published.note for pairing in pairings if pairing.published.note)
    return "\n".join(
        [f"# {escape(title)}", "", *rows, "", *(f"- {escape(note, 400)}" for note in notes), "", LEGEND, ""]
    )


def _access(pairing: Pairing) -> str:
    surrogate = pairing.published.which.get("surrogate")
    return "robust" if surrogate == "" else f"via {plain(surrogate, 40)}" if surrogate else "under attack"


def _title(card: Card) -> str:
    cell = card.cell
    seed = f", seed {cell.seed}" if cell.seed else ""
    names = " / ".join(part.label for part in (cell.victim, cell.defense, cell.attack))
    return plain(f"{names} at {format_eps(cell.threat.eps)}{seed}")


def _name(figure: str, pairing: Pairing) -> str:
    name = "clean" if figure.startswith("clean") else _access(pairing)
    return f"{name}, top-5" if figure.endswith("_top5") else name


def _measured(outcome: Outcome, figure: str) -> tuple[float, float, float] | None:
    """Return the measured rate and its interval; None for a top-5 accuracy of fewer than six classes."""
    if not figure.endswith("_top5"):
        return outcome.rate, outcome.low, outcome.high
    return None if outcome.top5 is None else (outcome.top5 / outcome.n, *wilson(outcome.top5, outcome.n))


def _percent(stated: float) -> str:
    """Return a published figure as it stands, with two decimals at least."""
    percent = 100 * stated
    return f"{percent:.2f}" if abs(percent - round(percent, 2)) < 1e-9 else f"{percent:.6g}"


def _interval(measured: tuple[float, float, float]) -> str:
    rate, low, high = (100 * part for part in measured)
    return f"{rate:.2f} [{low:.1f}, {high:.1f}]"


def _where(stated: float, measured: tuple[float, float, float]) -> str:
    _, low, high = measured
    if stated > high:
        return f"{100 * (stated - high):.1f} above"
    return f"{100 * (low - stated):.1f} below" if stated < low else "inside"
