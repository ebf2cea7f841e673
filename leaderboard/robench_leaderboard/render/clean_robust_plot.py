"""Clean against robust accuracy: one mark for each defended victim of a ranking."""

from __future__ import annotations

from collections.abc import Iterable

from robench_leaderboard.ranking.row import Row
from robench_leaderboard.render.chart import CLEAN, ROBUST, Mark, Plot, Series, percentages


def clean_robust(key: str, title: str, rows: Iterable[tuple[Row, str, int]]) -> Plot | None:
    """Return the plot of rows, each with its name and the number of its colour; None with fewer than two marks."""
    series = []
    for row, name, tone in rows:
        if row.headline is not None:
            (x, across), (y, upright) = percentages(row.clean), percentages(row.headline)
            series.append(Series(name, tone, (Mark(x, y, across, upright),)))
    if len(series) < 2:
        return None
    best = max(series, key=lambda one: one.marks[0].y)
    says = (
        f"{len(series)} defended victims. Most robust: {best.name}, {best.marks[0].y:.1f} % at "
        f"{best.marks[0].x:.1f} % clean. Up and to the right is better."
    )
    return Plot(key, "Clean against robust", title, says, CLEAN, ROBUST, tuple(series))
