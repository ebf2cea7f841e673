"""The chart of ``robench curve``: images that stand, over eps, a line an attack on a defended victim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robench.contracts.threat_model import format_eps
from robench.evidence.card import Card
from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.attack_outcome import Score
from robench_leaderboard.render.chart import Axis, Mark, Plot, Series, percentages
from robench_leaderboard.report.figure_files import chart_figure, styled, write_figure

#: Radii that get a name on the axis each.
NAMED = 8

Found = tuple[str, Card, Sequence[Mapping[str, Any]]]


def radius_plot(found: Sequence[Found]) -> Plot:
    """Return the plot of some curves: title, first card and a row a radius, with the counts that stand."""
    series = []
    for place, (title, first, rows) in enumerate(found):
        points = [(0.0, Score.of(first.clean)), *((row["eps"], Score(row["standing"], row["n"])) for row in rows)]
        marks = tuple(Mark(eps, y, None, upright) for eps, score in points for y, upright in [percentages(score)])
        series.append(Series(plain(title, 160), place, marks, place % 4, joined=True))
    radii = sorted({mark.x for one in series for mark in one.marks})
    names = tuple((eps, format_eps(eps)) for eps in radii) if len(radii) <= NAMED else ()
    cell = found[0][1].cell
    return Plot(
        "curve", "Accuracy against eps", f"{cell.threat.norm}, n = {cell.n:,}", "Falling from the clean accuracy.",
        Axis(f"eps, {cell.threat.norm} (0 is the clean accuracy)", names=names, spelled=names),
        Axis("images that stand, %", percent=True, zero=True), tuple(series),
    )  # fmt: skip


def write_chart(found: Sequence[Found], path: Path) -> list[Path]:
    """Write the chart as PNG and SVG beside ``path``; RobenchError where matplotlib is not installed."""
    with styled():
        figure = chart_figure(radius_plot(found))
        return [write_figure(figure, path.with_suffix(f".{kind}"), kind) for kind in ("png", "svg")]
