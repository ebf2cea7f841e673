"""Print cards as tables in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from robench.evidence.card import Card
from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.across_datasets import Across, across_datasets
from robench_leaderboard.ranking.board import Board, boards
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.render import datasets_table, formatting

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_STYLES = {"VALID": "green", "SUSPECT": "yellow", "INVALID": "bold red"}
_LEGEND = (
    "Percent with Wilson 95 % intervals. Robust: per image the worst case over all attacks of the row, of which at "
    "least one is white-box. Rows that share a rank are not told apart (exact McNemar, Holm, 5 %)."
)
#: Lines that a name may take in a table, before rows are named below it.
MOST_LINES = 3
_TRANSFER = "Transfer is not robustness: an attacker who knows the defense does better."


@dataclass(frozen=True)
class Column:
    """Say how one column is headed and filled."""

    heading: str
    cell: Callable[[Row], str]
    justify: Literal["left", "right"] = "right"
    name: bool = False
    min_width: int | None = 12


_RANK = Column("#", lambda row: str(row.rank or formatting.NONE))
_DEFENSE = Column("defense", formatting.title, "left", name=True)
_VICTIM = Column("victim", formatting.victim, "left", name=True)
_BOTH = Column("defense on victim", formatting.named_on, "left", name=True)
_OUTCOME = (
    Column("clean %", lambda row: formatting.percent(row.clean)),
    Column("robust %", formatting.robust),
    Column("gain", lambda row: "ref." if row.undefended else formatting.gain(row)),
)
_CERTIFIED = Column("certified %", lambda row: formatting.percent(row.certified))
_TOP5 = (
    Column("clean top-5 %", lambda row: formatting.percent(row.clean_top5)),
    Column("robust top-5 %", lambda row: formatting.percent(row.robust_top5)),
)
_THROUGH = Column("transfer %", lambda row: _transfers(row), "left", name=True)
_VERDICT = Column("verdict", lambda row: row.verdict, "left")
_EVIDENCE = Column("evidence", lambda row: row.evidence.words, "left")
_COST = (
    Column("trainable", formatting.trainable),
    Column("fit s", lambda row: formatting.decimal(row.fit_seconds)),
    Column("craft ms", lambda row: formatting.decimal(row.craft_ms)),
    Column("score ms", lambda row: formatting.decimal(row.score_ms)),
    Column("peak MB", lambda row: formatting.megabytes(row.peak_bytes)),
)


def print_tables(cards: Iterable[Card], console: Console) -> None:
    """Print a table per board; in a narrow terminal, transfer and cost get tables of their own."""
    found = boards(cards)
    for board in found:
        for table in _tables(board, console):
            console.print(table)
        _print_notes(board, console)
    for across in across_datasets(found):
        console.print(_datasets(across))
        console.print(datasets_table.legend(across), style="dim", markup=False, highlight=False)
    console.print(_LEGEND if found else "There are no cards to show.", style="dim", markup=False, highlight=False)


def _tables(board: Board, console: Console) -> list[Table]:
    names, title = _names(board), _title(board)
    through = [_THROUGH] if board.has_transfer else []
    top5 = list(_TOP5) if board.has_top5 else []
    outcome = [*_OUTCOME[:2], *[_CERTIFIED] * board.has_certified, *_OUTCOME[2:]]
    whole = _table(board, [_RANK, *names, *outcome, *through, _VERDICT, _EVIDENCE, *top5, *_COST], title)
    if _fits(whole, console):
        return [whole]
    main = _table(board, [_RANK, *names, *outcome, *through, _VERDICT, _EVIDENCE], title)
    if _fits(main, console):
        return [main, *_others(board, names, top5)]
    names = names if len(names) == 1 else [_BOTH]
    key = []
    if not _readable(board, names[0], console):
        letters = Column("row", lambda row: _letters(board.rows.index(row)), "left")
        key, names = [_table(board, [letters, replace(names[0], min_width=None)], "Rows")], [letters]
    main = _table(board, [_RANK, *names, *_OUTCOME, _VERDICT, _EVIDENCE], title)
    proved = [_table(board, [*names, _CERTIFIED], "Certified")] if board.has_certified else []
    transfer = [_table(board, [*names, *through], "Transfer")] if through else []
    return [main, *key, *proved, *transfer, *_others(board, names, top5)]


def _readable(board: Board, name: Column, console: Console) -> bool:
    """Tell whether the names fit beside the outcome with no word broken, in a few lines each."""
    room = console.width - _width(_table(board, [_RANK, *_OUTCOME, _VERDICT, _EVIDENCE], ""), console) - 1
    names = [name.cell(row) for row in board.rows]
    words = [word for text in names for word in text.split()]
    return max(map(len, words), default=0) <= room and max(map(len, names), default=0) <= MOST_LINES * room


def _letters(place: int) -> str:
    """Return A to Z, then AA, AB, ..."""
    return (_letters(place // 26 - 1) if place >= 26 else "") + chr(ord("A") + place % 26)


def _others(board: Board, names: list[Column], top5: list[Column]) -> list[Table]:
    """Return what has no place in the main table."""
    five = [_table(board, [*names, *top5], "The label among the five highest logits (top-5, R@5)")] if top5 else []
    return [*five, _table(board, [*names, *_COST], "Cost")]


def _table(board: Board, columns: Sequence[Column], title: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # Text, never str: square brackets in a name are rich markup otherwise.
    table = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        # fold: a long word is broken rather than cut off, if it fits no terminal.
        table.add_column(
            column.heading,
            justify=column.justify,
            no_wrap=not column.name,
            overflow="fold",
            min_width=column.min_width if column.name else None,
        )
    for place, row in enumerate(board.rows):
        if place == len(board.ranked) and place:
            table.add_section()
        style = "" if row.rank else "dim"
        table.add_row(
            *(Text(column.cell(row), _STYLES[row.verdict] if column is _VERDICT else style) for column in columns)
        )
    return table


def _datasets(across: Across) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    title = Text(datasets_table.caption(across), "bold")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in datasets_table.heads(across):
        justify: Literal["left", "right"] = "left" if heading == "defense" else "right"
        table.add_column(Text(heading), justify=justify, overflow="fold")
    for row in across.rows:
        table.add_row(*(Text(word, "" if row.rank else "dim") for word in datasets_table.words(across, row)))
    return table


def _width(table: Table, console: Console) -> int:
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum


def _fits(table: Table, console: Console) -> bool:
    return _width(table, console) <= console.width


def _names(board: Board) -> list[Column]:
    return [_DEFENSE] if len({row.victim for row in board.rows}) == 1 else [_DEFENSE, _VICTIM]


def _title(board: Board) -> str:
    setting = f"{plain(board.setting.dataset, 80)}: {board.setting.contest}"
    return f"{setting}, victim {formatting.whole_victim(board)}" if len(board.victims) == 1 else setting


def _transfers(row: Row) -> str:
    lines = (f"{plain(via, 40)}: {formatting.percent(score)}" for via, score in row.transfer.items())
    return "\n".join(lines) or formatting.NONE


def _print_notes(board: Board, console: Console) -> None:
    from rich.padding import Padding
    from rich.text import Text

    if board.shared:
        console.print(Text(formatting.shared(board)))
    for note in (
        [formatting.FEWER] * board.uneven
        + [_TRANSFER] * board.has_transfer
        + [formatting.CERTIFIED] * board.has_certified
    ):
        console.print(Text(note, "dim"))
    for sentence in [*board.weak, *board.broken][:20]:
        console.print(Text(plain(sentence, 600)))
    for row in board.unranked:
        console.print(Text(f"{row.verdict}, not ranked: {formatting.title(row)}", _STYLES[row.verdict]))
        for reason in row.reasons:
            console.print(Padding(Text(plain(reason, 600)), (0, 0, 0, 2)))
    console.print()
