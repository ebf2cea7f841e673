"""The chart of ``robench curve``: images that stand, over eps, a line an attack on a defended victim."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robench.contracts.threat_model import radius_of
from robench.evidence.card import Card
from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.attack_outcome import Score
from robench_leaderboard.render.chart import Axis, Mark, Plot, Series, percentages
from robench_leaderboard.report.figure_files import chart_figure, literal, styled, write_figure

#: Radii that get a name on the axis each.
NAMED = 8

Found = tuple[str, Card, Sequence[Mapping[str, Any]]]


def radius_plot(found: Sequence[Found], shared: str) -> Plot:
    """Return the plot of some curves: title, first card and a row a radius, with the counts that stand.

    Where images were certified, a second line in the colour of the first is the lower end of the bracket.
    """
    series = []
    bracket = any(row["certified"] is not None for _, _, rows in found for row in rows)
    cell = found[0][1].cell
    for place, (title, first, rows) in enumerate(found):
        ends = {"": "standing", ", certified": "certified"}
        for dash, (what, column) in enumerate(ends.items()):
            counted = [(row["eps"], Score(row[column], row["n"])) for row in rows if row[column] is not None]
            if counted:
                points = [(0.0, Score.of(first.clean)), *counted]
                drawn = [(eps, *percentages(score)) for eps, score in points]
                marks = tuple(Mark(eps, y, None, upright) for eps, y, upright in drawn)
                name, dashed = f"{plain(title, 160)}{what}", dash if bracket else place % 4
                series.append(Series(name, place, marks, dashed, joined=True))
    radii = sorted({mark.x for one in series for mark in one.marks})
    names = tuple((eps, radius_of(eps, cell.threat.norm) if eps else "0") for eps in radii)
    names = names if len(radii) <= NAMED else ()
    return Plot(
        "curve", "Accuracy against eps", plain(shared, 400), "Falling from the clean accuracy.",
        Axis(f"eps, {cell.threat.norm} (0 is the clean accuracy)", names=names, spelled=names),
        Axis("images that stand, %", percent=True, zero=True), tuple(series),
    )  # fmt: skip


def write_chart(found: Sequence[Found], shared: str, path: Path) -> list[Path]:
    """Write the chart as PNG and SVG beside ``path``; RobenchError where matplotlib is not installed."""
    with styled():
        plot = radius_plot(found, shared)
        figure = chart_figure(plot)
        figure.axes[0].set_title(literal(textwrap.fill(plot.title, 60)), fontsize=7)
        return [write_figure(figure, path.with_name(f"{path.name}.{kind}"), kind) for kind in ("png", "svg")]
