"""Find defenses that are one defense under two names: they may not be ranked as two (invariant 8)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from robench_leaderboard.ranking.row import Row

Key = tuple[str, str, int, tuple[str, ...]]


def with_duplicates(rows: Sequence[Row]) -> list[Row]:
    """Mark rows whose defense is another one under a second name; the first by name stays."""
    standing = sorted((row for row in rows if not row.reasons), key=_name)
    alike: dict[Key, list[Row]] = defaultdict(list)
    for row in standing:
        if row.cards[0].training.names:
            alike[_training(row)].append(row)
    return [row if row.reasons else replace(row, duplicate=_sentence(row, alike[_training(row)])) for row in rows]


def _training(row: Row) -> Key:
    training = row.cards[0].training
    recipe = json.dumps(training.recipe, sort_keys=True)
    return row.victim, recipe, training.trainable, tuple(sorted(training.names))


def _sentence(row: Row, alike: Sequence[Row]) -> str:
    for other in alike:
        if _name(other) >= _name(row):
            break
        if _same_data(row, other):
            return (
                f"It coincides with '{other.title}': the same recipe, the same {row.trainable:,} trainable "
                "parameters and the same data on the same victim, so the two are one defense and only "
                f"'{other.title}' is ranked. If they do differ, the recipe must say how."
            )
    return ""


def _same_data(row: Row, other: Row) -> bool:
    """Compare the training images; another seed draws others, and then only their number can be compared."""
    mine, yours = row.cards[0].data, other.cards[0].data
    return mine.train == yours.train if row.seed == other.seed else mine.train_n == yours.train_n


def _name(row: Row) -> str:
    return row.cards[0].cell.defense.name
