"""Robust accuracy by dataset: what a defense is worth on images it was trained for, and on others."""

from __future__ import annotations

from collections.abc import Iterator

from robench_leaderboard.ranking.across_datasets import Across, AcrossRow
from robench_leaderboard.render.chart import ROBUST, Axis, Mark, Plot, Series, percentages
from robench_leaderboard.render.datasets_table import caption, title
from robench_leaderboard.report.report_data import Report


def over_datasets(report: Report) -> Iterator[Plot]:
    """Yield a plot for each table over several datasets: a line for each defense, a place for each dataset."""
    for place, table in enumerate(report.across):
        series = tuple(found for row in table.rows if (found := _series(report, table, row)).marks)
        names = tuple((float(column), _short(report.brief(name))) for column, name in enumerate(table.datasets))
        says = " ".join(f"{one.name}: {_ends(one, names)}." for one in series[:8])
        axis = Axis("dataset", names=names)
        yield Plot(f"datasets-{place + 1}", "Robust by dataset", caption(table), says, axis, ROBUST, series)


def _series(report: Report, table: Across, row: AcrossRow) -> Series:
    marks, tone = [], 0
    for place, found in enumerate(row.rows):
        if found is not None and found.headline is not None:
            y, upright = percentages(found.headline)
            marks.append(Mark(float(place), y, None, upright))
            tone = report.tone(found)
    # Two fits of one defense have its colour, and lines of another kind.
    alike = [other for other in table.rows if other.defense == row.defense]
    return Series(title(table, row), tone, tuple(marks), alike.index(row), joined=True)


def _short(label: str) -> str:
    """Return a dataset's label as short as a tick has room for: ``digits[classes=0-4]`` is ``digits 0-4``."""
    return label.replace("[classes=", " ").removesuffix("]")


def _ends(series: Series, names: tuple[tuple[float, str], ...]) -> str:
    known = dict(names)
    return ", ".join(f"{mark.y:.1f} % on {known[mark.x]}" for mark in series.marks)
