"""Compare each defended row with the same victim, undefended, on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from robench_leaderboard.ranking.row import Row
from robench_leaderboard.statistics.paired_difference import Difference


def with_gains(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with their robust gain and clean tax; neither where one of the two numbers does not stand."""
    references = {_key(row): row for row in reversed(rows) if row.undefended and not row.reasons}
    return [_compared(row, references.get(_key(row))) for row in rows]


def _key(row: Row) -> tuple[str, int, str]:
    return row.victim, row.seed, row.cards[0].model.victim


def _compared(row: Row, reference: Row | None) -> Row:
    if row.undefended or row.reasons or row.shares is None or reference is None or reference.shares is None:
        return row
    gained = Difference.of(row.shares, reference.shares)
    return replace(row, gained=gained, taxed=Difference.of(reference.clean_shares, row.clean_shares))
