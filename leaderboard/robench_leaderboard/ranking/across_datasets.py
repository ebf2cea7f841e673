"""The table of papers: one victim's defenses on several datasets, from the rankings of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from robench.contracts.class_subset import within
from robench.contracts.threat_model import radius_of
from robench.errors import RobenchError
from robench_leaderboard.ranking.attack_outcome import Score
from robench_leaderboard.ranking.board import Board
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.statistics.several_datasets import mean_over_datasets, ranks_over_datasets

#: Stands for the dataset of each column, where a defense was fitted on every one anew.
EACH = "each"

#: Defense, seed, and what it was trained on: a dataset, ``EACH``, or nothing.
Key = tuple[str, int, str]


@dataclass(frozen=True)
class Mean:
    """Hold a mean over datasets and its 95 % interval, which takes datasets and images as samples; all in [0, 1]."""

    rate: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class AcrossRow:
    """Hold one defense on several datasets; None where it was not measured."""

    defense: str
    seed: int
    source: str
    rows: tuple[Row | None, ...]
    #: Per dataset, whether it was trained on it.
    seen: tuple[bool, ...]
    rank: int | None = None

    @property
    def undefended(self) -> bool:
        """Say whether this is the reference that defenses are compared with."""
        return any(row is not None and row.undefended for row in self.rows)

    @cached_property
    def complete(self) -> bool:
        """Say whether every dataset has a number of it that may be ranked."""
        return all(row is not None and not row.reasons and row.mask is not None for row in self.rows)

    @cached_property
    def clean(self) -> Mean | None:
        """Return the mean clean accuracy; None where a dataset is missing."""
        return _mean_of([None if row is None else row.clean for row in self.rows])

    @cached_property
    def robust(self) -> Mean | None:
        """Return the mean robust accuracy; None where a dataset is missing or has a number that is not ranked."""
        if not self.complete:
            return None
        return _mean_of([row.headline for row in self.rows if row is not None])

    @cached_property
    def clean_top5(self) -> Mean | None:
        """Return the mean clean top-5 accuracy; None where a dataset is missing or has fewer than six classes."""
        return _mean_of([None if row is None else row.clean_top5 for row in self.rows])

    @cached_property
    def robust_top5(self) -> Mean | None:
        """Return the mean of the lowest top-5 accuracies under attack; None as for robust and clean top-5."""
        return _mean_of([None if row is None else row.robust_top5 for row in self.rows]) if self.complete else None

    @property
    def transfers(self) -> list[float | None]:
        """Return, per dataset, the lowest accuracy over surrogates."""
        found = [() if row is None else row.transfer.values() for row in self.rows]
        return [min((score.rate for score in scores), default=None) for scores in found]

    @property
    def transfer(self) -> float | None:
        """Return the mean of the lowest transfer accuracies; None where one is missing."""
        return _plain_mean(self.transfers)

    @property
    def tax_there(self) -> float | None:
        """Return the clean accuracy that it cost on the datasets it was trained on, in points."""
        return self._tax(True)

    @property
    def tax_elsewhere(self) -> float | None:
        """Return the clean accuracy that it cost on the datasets it was not trained on, in points."""
        return self._tax(False)

    def _tax(self, seen: bool) -> float | None:
        pairs = zip(self.rows, self.seen, strict=True)
        return _plain_mean([None if row is None else row.tax for row, there in pairs if there == seen])


@dataclass(frozen=True, eq=False)
class Across:
    """Hold one victim's defenses on several datasets, under one norm and radius."""

    victim: str
    boards: tuple[Board, ...]
    rows: tuple[AcrossRow, ...]

    @property
    def radius(self) -> str:
        """Return norm and radius, such as ``Linf 8/255``."""
        setting = self.boards[0].setting
        return f"{setting.norm} {radius_of(setting.eps, setting.norm)}"

    @property
    def datasets(self) -> list[str]:
        """Return the labels of the datasets."""
        return [board.setting.dataset for board in self.boards]

    @property
    def has_transfer(self) -> bool:
        """Say whether any row was attacked through a surrogate."""
        return any(rate is not None for row in self.rows for rate in row.transfers)

    @property
    def has_top5(self) -> bool:
        """Say whether any dataset has top-5 accuracies: with fewer than six classes there are none."""
        return any(found.clean_top5 is not None for row in self.rows for found in row.rows if found is not None)

    @property
    def has_mean_top5(self) -> bool:
        """Say whether all datasets have top-5 accuracies, so that there is a mean of them."""
        return any(row.clean_top5 is not None for row in self.rows)


def across_datasets(boards: Iterable[Board]) -> list[Across]:
    """Return a table for each victim, norm and radius with a defense that was judged on several datasets."""
    grouped: dict[tuple[str, float, str], dict[str, Board]] = defaultdict(dict)
    for board in boards:
        setting = board.setting
        for victim in board.victims:
            largest = grouped[setting.norm, setting.eps, victim]
            if setting.n >= (largest[setting.dataset].setting.n if setting.dataset in largest else 0):
                largest[setting.dataset] = board
    tables = (_table(victim, list(found.values())) for (_, _, victim), found in sorted(grouped.items()))
    return [table for table in tables if any(not row.undefended for row in table.rows)]


def _table(victim: str, boards: Sequence[Board]) -> Across:
    found = {key: rows for key, rows in _by_defense(victim, boards).items() if len(rows) > 1}
    used = sorted({board.setting.dataset for rows in found.values() for board in rows})
    columns = [next(board for board in boards if board.setting.dataset == name) for name in used]
    rows = [_row(key, by_board, columns) for key, by_board in found.items()]
    return Across(victim, tuple(columns), tuple(_ranked(rows)))


def _by_defense(victim: str, boards: Sequence[Board]) -> dict[Key, dict[Board, Row]]:
    found: dict[Key, dict[Board, Row]] = defaultdict(dict)
    for board in boards:
        # Best first, so that of two sets of weights under one name the worse one stands.
        for row in (row for row in board.rows if row.victim == victim):
            source = _source(row, board)
            found[row.defense, row.seed, source][board] = row
            if source == board.setting.dataset:
                found[row.defense, row.seed, EACH][board] = row
    return found


def _source(row: Row, board: Board) -> str:
    trained = row.cards[0].data.train is not None
    return row.trained_on or (board.setting.dataset if trained else "")


def _row(key: Key, by_board: Mapping[Board, Row], columns: Sequence[Board]) -> AcrossRow:
    defense, seed, source = key
    rows = tuple(by_board.get(board) for board in columns)
    seen = tuple(source == EACH or (row is not None and _saw(row)) for row in rows)
    return AcrossRow(defense, seed, source, rows, seen)


def _saw(row: Row) -> bool:
    """Say whether the row was trained on the dataset that it is judged on, or on one that has all of its classes."""
    cell, trained = row.cards[0].cell, row.cards[0].data.train is not None
    if cell.trained_on is None:
        return trained
    here, there = (dict(one.parameters) for one in (cell.dataset, cell.trained_on))
    classes = [str(parameters.pop("classes", "")) for parameters in (here, there)]
    return cell.dataset.name == cell.trained_on.name and here == there and _within(*classes)


def _within(inner: str, outer: str) -> bool:
    try:
        return within(inner, outer)
    except RobenchError:  # a card may say anything
        return False


def _ranked(rows: Sequence[AcrossRow]) -> list[AcrossRow]:
    """Return the rows, those that can be ranked first and best first."""

    def name(row: AcrossRow) -> tuple[str, int, str]:
        return row.defense, row.seed, row.source

    complete = [(row.robust.rate, row) for row in rows if row.robust is not None]
    ordered = [row for _, row in sorted(complete, key=lambda pair: (-pair[0], name(pair[1])))]
    rest = sorted((row for row in rows if row.robust is None), key=name)
    if not ordered:
        return rest
    columns = zip(*(row.rows for row in ordered), strict=True)
    ranks = ranks_over_datasets([[row.mask or () for row in column if row is not None] for column in columns])
    return [replace(row, rank=rank) for row, rank in zip(ordered, ranks, strict=True)] + rest


def _mean_of(found: Sequence[Score | None]) -> Mean | None:
    known = [score for score in found if score is not None]
    if len(known) < len(found) or len(known) < 2:
        return None
    return Mean(*mean_over_datasets([score.rate for score in known], [score.n for score in known]))


def _plain_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
