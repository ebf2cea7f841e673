"""The table of results: every ranked or refused row, a column at a time, with what each is sorted by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from robench_leaderboard.ranking.attack_outcome import Score
from robench_leaderboard.ranking.board import Board
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.render import formatting
from robench_leaderboard.report.plots import board_title
from robench_leaderboard.report.report_data import Report

Kind = Literal["text", "number", "score", "verdict"]

#: Settings that get a sentence at the top.
MOST_CLAIMS = 12


@dataclass(frozen=True, eq=False)
class Line:
    """Be one row of the table, with the board it is ranked on."""

    report: Report
    board: Board
    row: Row

    @property
    def victim(self) -> str:
        """Return the victim in short."""
        return self.report.brief(self.row.victim)

    @property
    def images(self) -> str:
        """Return the dataset and how many images of it."""
        return f"{self.report.brief(self.board.setting.dataset)}, n = {self.board.setting.n:,}"

    @property
    def attacker(self) -> str:
        """Return what the attacker may do, such as ``Linf 8/255``."""
        return self.board.setting.contest.partition(",")[0]

    @property
    def transfer(self) -> Score | None:
        """Return the lowest accuracy over all surrogates."""
        return min(self.row.transfer.values(), key=lambda score: score.rate, default=None)

    @property
    def passes(self) -> float | None:
        """Return forwards and backwards per image, summed over the white-box attacks."""
        forwards, backwards = self.row.forwards, self.row.backwards
        return None if forwards is None or backwards is None else forwards + backwards


@dataclass(frozen=True)
class Column:
    """Say how a column is headed, explained, filled and sorted.

    Attributes:
        sort: the value rows are ordered by; None goes last.
        score: the accuracy that is drawn with its interval.
        optional: leave the column out where all rows share its text, or none has its accuracy.
        folded: on a wide screen it is shown only once costs are asked for, so that the table fits.
    """

    heading: str
    help: str
    kind: Kind
    text: Callable[[Line], str]
    sort: Callable[[Line], float | str | None]
    score: Callable[[Line], Score | None] = lambda line: None
    optional: bool = False
    folded: bool = False


def _text(heading: str, help: str, text: Callable[[Line], str], optional: bool = True) -> Column:
    return Column(heading, help, "text", text, lambda line: text(line).lower(), optional=optional)


def _score(heading: str, help: str, score: Callable[[Line], Score | None], optional: bool = False) -> Column:
    def rate(line: Line) -> float | None:
        found = score(line)
        return None if found is None else found.rate

    return Column(heading, help, "score", lambda line: formatting.percent(score(line)), rate, score, optional)


def _number(heading: str, help: str, value: Callable[[Line], float | None]) -> Column:
    return Column(heading, help, "number", lambda line: formatting.decimal(value(line)), value, folded=True)


COLUMNS: tuple[Column, ...] = (
    Column(
        "rank",
        "Rows that share a rank are not told apart by exact McNemar tests on the same images (Holm, 5 %).",
        "number",
        lambda line: str(line.row.rank or formatting.NONE),
        lambda line: line.row.rank,
    ),
    _text("defense", "", lambda line: formatting.title(line.row), optional=False),
    _text("victim", "The model under attack.", lambda line: line.victim),
    _text("images", "", lambda line: line.images),
    Column(
        "attacker",
        "Norm and radius, in pixel units of images in [0, 1].",
        "text",
        lambda line: line.attacker,
        # By the radius, not by its letters: 4/255 comes before 0.5.
        lambda line: f"{line.board.setting.norm} {line.board.setting.eps:020.12f}",
    ),
    _score("clean %", "Accuracy on the untouched images, with the Wilson 95 % interval.", lambda line: line.row.clean),
    Column(
        "robust %",
        "Per image the worst case over all attacks of the row, of which at least one is white-box.",
        "score",
        lambda line: formatting.robust(line.row),
        lambda line: line.row.headline.rate if line.row.headline else None,
        lambda line: line.row.headline,
    ),
    _score(
        "certified %",
        "Images of which a certificate says that nothing in the ball fells them: the lower end of the bracket.",
        lambda line: line.row.certified,
        optional=True,
    ),
    Column(
        "gain",
        "Robust accuracy minus that of the same victim undefended, in points.",
        "number",
        lambda line: "ref." if line.row.undefended else formatting.gain(line.row),
        lambda line: line.row.gain,
    ),
    _score(
        "clean top-5 %",
        "The label is among the five highest logits (R@5 of captions), on the untouched images.",
        lambda line: line.row.clean_top5,
        optional=True,
    ),
    _score(
        "robust top-5 %",
        "Likewise under attack: the lowest over the row's end-to-end attacks.",
        lambda line: line.row.robust_top5,
        optional=True,
    ),
    _score(
        "transfer %",
        "Lowest accuracy over attacks crafted on another model. It is not robustness.",
        lambda line: line.transfer,
        optional=True,
    ),
    Column(
        "verdict",
        "The worst that the gate found.",
        "verdict",
        lambda line: line.row.verdict,
        lambda line: line.row.verdict,
    ),
    _text(
        "evidence",
        "How far the least checked card was checked: reported, evidence checked, or re-run by others.",
        lambda line: line.row.evidence.words,
    ),
    Column(
        "trainable",
        "Trainable parameters, of all that the defended victim has.",
        "number",
        lambda line: formatting.trainable(line.row),
        lambda line: line.row.trainable,
        folded=True,
    ),
    _number("fit s", "Seconds to fit the defense.", lambda line: line.row.fit_seconds),
    _number(
        "passes",
        "Forwards and backwards per image, summed over the row's white-box attacks.",
        lambda line: line.passes,
    ),
    _number(
        "craft ms",
        "Milliseconds per image to attack, summed over the row's white-box attacks.",
        lambda line: line.row.craft_ms,
    ),
    _number("score ms", "Milliseconds per image to classify.", lambda line: line.row.score_ms),
)


@dataclass(frozen=True, eq=False)
class Table:
    """Be the table: the columns worth showing, and what all rows agree on instead of the others."""

    lines: list[Line]
    columns: list[Column]
    shared: list[tuple[str, str]]

    def choices(self, column: Column) -> list[str]:
        """Return the values that a column has, in the order of its sorting."""
        found = {column.text(line): str(column.sort(line)) for line in self.lines}
        return sorted(found, key=found.__getitem__)


def results(report: Report) -> Table:
    """Return the table of a report."""
    lines = [Line(report, board, row) for board, row in report.rows]
    alike = [column for column in COLUMNS if column.optional and _says_nothing(column, lines)]
    shared = [(column.heading, column.text(lines[0])) for column in alike if column.kind == "text"]
    return Table(lines, [column for column in COLUMNS if column not in alike], shared)


def _says_nothing(column: Column, lines: list[Line]) -> bool:
    """Tell whether a column can be left out: a text that all rows share, an accuracy that none has."""
    found = {column.text(line) for line in lines}
    return len(found) == 1 if column.kind == "text" else found == {formatting.NONE}


def claims(report: Report) -> Iterator[tuple[str, str]]:
    """Yield a setting and a sentence on it: who leads, by how much, and what it costs in clean accuracy."""
    for board in report.boards[:MOST_CLAIMS]:
        title = board_title(report, board)
        leaders = [row for row in board.ranked if row.rank == 1]
        if not leaders:
            yield title, "Nothing may be ranked here; the reasons are below the table."
            continue
        if len(leaders) > 1:
            yield title, _tie(report, board, leaders)
            continue
        first = leaders[0]
        verb = "leads with" if len(board.ranked) > 1 else "reaches"
        words = f"{report.name(first, board)} {verb} {formatting.percent(first.headline)} % robust"
        if first.gain is not None:
            words += f", {formatting.gain(first)} points over the undefended victim"
        yield title, f"{words}, at {formatting.percent(first.clean)} % clean."


def _tie(report: Report, board: Board, leaders: list[Row]) -> str:
    shown = leaders if len(leaders) <= 3 else leaders[:2]
    others = [] if len(leaders) <= 3 else [f"{len(leaders) - 2} others"]
    names = _together([*(report.name(row, board) for row in shown), *others])
    robust = _together([formatting.percent(row.headline) for row in shown])
    clean = _together([formatting.percent(row.clean) for row in shown])
    return f"{names} lead and are not told apart: {robust} % robust, at {clean} % clean."


def _together(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


@dataclass(frozen=True)
class TransferTable:
    """Be one board's matrix: rows of defended victims, a column for each attacker's model, and robust beside them.

    Robust is what the table of results calls so, whatever an attack reached alone.
    """

    board: Board
    surrogates: tuple[str, ...]
    rows: tuple[tuple[Row, Score | None, tuple[Score | None, ...]], ...]


def transfer_tables(report: Report) -> Iterator[TransferTable]:
    """Yield a matrix for each board that has transfer results."""
    for board in report.boards:
        names = tuple(sorted({via for row in board.rows for via in row.transfer}))
        rows = tuple(
            (row, row.headline, tuple(row.transfer.get(via) for via in names)) for row in board.rows if row.transfer
        )
        if rows:
            yield TransferTable(board, names, rows)
