"""Mark the rows that no other row beats in robust accuracy for the same cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from robench_leaderboard.ranking.row import Row
from robench_leaderboard.statistics.pareto import front

#: What a defense costs its user. Clocks are compared on one device only; parameters anywhere.
COSTS: Mapping[str, Callable[[Row], float | None]] = {
    "trainable": lambda row: row.trainable,
    "fit": lambda row: row.fit_seconds,
    "score": lambda row: row.score_ms,
}
_CLOCKS = ("fit", "score")


def with_front(rows: Sequence[Row]) -> list[Row]:
    """Return the ranked rows, each with the costs for which it is on the Pareto front.

    A row is on the front of a cost if no other row is at least as robust at no higher cost and better in one of the
    two. Accuracies are taken as measured: that a row is on the front does not say that it differs from its neighbours.
    """
    fronts = {name: _front(rows, name) for name in COSTS}
    return [
        replace(row, front=tuple(name for name in COSTS if place in fronts[name])) for place, row in enumerate(rows)
    ]


def _front(rows: Sequence[Row], name: str) -> set[int]:
    """Return the places of the rows on one front, of each device where the cost is a clock."""
    groups: dict[tuple[str, ...], list[tuple[float, float, int]]] = defaultdict(list)
    for place, row in enumerate(rows):
        cost = COSTS[name](row)
        if cost is not None and row.headline is not None and not (name in _CLOCKS and len(row.devices) > 1):
            groups[row.devices if name in _CLOCKS else ()].append((cost, row.headline.correct, place))
    return {
        place
        for group in groups.values()
        for corners in [front((cost, robust) for cost, robust, _ in group)]
        for cost, robust, place in group
        if (cost, robust) in corners
    }
