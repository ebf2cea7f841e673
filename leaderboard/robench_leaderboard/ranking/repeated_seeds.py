"""Gather the rows that repeat one defended victim with other seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from robench_leaderboard.ranking.attack_outcome import Score
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.statistics.seed_spread import SeedMean, Spread, seed_mean, spread

Key = tuple[str, str, int, int, str]


@dataclass(frozen=True, eq=False)
class Repeated:
    """Hold the rows of one defense on one victim that differ in their seed only, and what they say together."""

    rows: tuple[Row, ...]
    robust: Spread
    clean: Spread

    @property
    def clean_top5(self) -> SeedMean | None:
        """Return the top-5 accuracy without an attack over the seeds; None for fewer than six classes."""
        return _over_seeds([row.clean_top5 for row in self.rows])

    @property
    def robust_top5(self) -> SeedMean | None:
        """Return the lowest top-5 accuracy under attack over the seeds; None for fewer than six classes."""
        return _over_seeds([row.robust_top5 for row in self.rows])

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds in order."""
        return tuple(row.seed for row in self.rows)


def repeated_rows(rows: Iterable[Row]) -> tuple[Repeated, ...]:
    """Return one entry for each defense that was ranked with several seeds, most robust mean first.

    Only seeds that met the same attacks are put together: another attack is no repetition.
    """
    groups: dict[tuple[Key, tuple[str, ...]], dict[int, Row]] = defaultdict(dict)
    for row in rows:
        groups[_key(row), tuple(sorted({attack.description for attack in row.attacks}))].setdefault(row.seed, row)
    found = [_repeated(list(group.values())) for _, group in sorted(groups.items()) if len(group) > 1]
    return tuple(sorted(found, key=lambda each: -each.robust.mean))


def _over_seeds(scores: Sequence[Score | None]) -> SeedMean | None:
    known = [score.rate for score in scores if score is not None]
    return seed_mean(known) if len(known) == len(scores) else None


def _key(row: Row) -> Key:
    cell, model = row.cards[0].cell, row.cards[0].model
    return row.victim, row.defense, cell.victim.version, cell.defense.version, model.victim


def _repeated(rows: list[Row]) -> Repeated:
    rows = sorted(rows, key=lambda row: row.seed)
    # Shares, not masks: the mean over seeds is that of the accuracies in their rows, drawn and corrupted images too.
    robust = spread([row.shares for row in rows if row.shares is not None])
    return Repeated(tuple(rows), robust, spread([row.clean_shares for row in rows]))
