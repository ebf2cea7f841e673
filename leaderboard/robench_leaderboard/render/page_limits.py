"""Decide how much of each ranking a page shows, so that thousands of cards stay readable.

GitHub stops rendering Markdown at half a megabyte; a browser does not, but a reader does. leaderboard.json holds all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robench_leaderboard.ranking.board import Board
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.render import formatting


@dataclass(frozen=True)
class Limits:
    """Say how many boards, rows and details a page takes; rows and details are shared out evenly over its boards."""

    boards: int
    visible: int
    rows: int
    details: int


MARKDOWN = Limits(boards=50, visible=25, rows=900, details=100)
HTML = Limits(boards=400, visible=60, rows=8000, details=500)


@dataclass(frozen=True)
class Total:
    """Count what there is, shown or not."""

    cards: int
    rows: int
    boards: int

    @classmethod
    def of(cls, boards: Sequence[Board]) -> Total:
        """Return the counts over all boards."""
        rows = [row for board in boards for row in board.rows]
        return cls(sum(len(row.cards) for row in rows), len(rows), len(boards))


@dataclass(frozen=True, eq=False)
class ShownBoard:
    """Hold one board and which of its rows are shown at once, shown when unfolded, left out, and detailed."""

    board: Board
    visible: tuple[Row, ...]
    folded: tuple[Row, ...]
    left_out: int
    detailed: tuple[Row, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Return the rows that are shown, folded or not."""
        return self.visible + self.folded

    @property
    def front(self) -> str:
        """Name the rows that are on any Pareto front; only the first few."""
        names = [formatting.title(row) for row in self.board.ranked if row.front]
        return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def shorten(boards: Sequence[Board], limits: Limits) -> list[ShownBoard]:
    """Return the boards that a page shows, and how much of each."""
    shown = boards[: limits.boards]
    rows = max(limits.rows // max(len(shown), 1), 5)
    details = max(limits.details // max(len(shown), 1), 1)
    return [_shown(board, limits.visible, rows, details) for board in shown]


def _shown(board: Board, visible: int, rows: int, details: int) -> ShownBoard:
    shown = board.rows[:rows]
    return ShownBoard(
        board=board,
        visible=shown[:visible],
        folded=shown[visible:],
        left_out=len(board.rows) - len(shown),
        detailed=shown[:details],
    )
