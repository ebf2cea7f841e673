"""The report's charts as PNG and SVG files for a paper: the same cards give the same bytes."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.errors import RobenchError
from robench.evidence.card import Card
from robench.evidence.files import write_whole
from robench.evidence.plain_text import plain
from robench_leaderboard.render.axis_scales import Logarithmic, scale
from robench_leaderboard.render.chart import Plot, Series
from robench_leaderboard.report import plots
from robench_leaderboard.report.dataset_plots import over_datasets
from robench_leaderboard.report.model_accuracy import model_accuracy
from robench_leaderboard.report.report_data import Report
from robench_leaderboard.report.results_table import TransferTable, transfer_tables
from robench_leaderboard.report.taken_places import CARDS
from robench_leaderboard.report.training_plots import training

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The page's colours on white paper, by tone (``report.css``).
INKS = ("#5b6775", "#0b5cad", "#b84d08", "#14713f", "#7338ad", "#ab1f64", "#096a76", "#6c5d00")
DASHES = ("-", "--", ":", "-.")
#: Inches: a column of a two-column paper.
SIZE = (3.5, 2.7)
#: Rows whose confusion matrices become figures.
MOST_MATRICES = 50

STYLE: Any = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    # Without it, identifiers in an SVG are drawn at random.
    "svg.hashsalt": "robench",
    "savefig.dpi": 200,
}


def write_figures(report: Report, folder: Path) -> list[Path]:
    """Write every chart of the report as PNG and SVG, and beside them which cards they are of; return the charts.

    Raises:
        RobenchError: matplotlib is not installed.
    """
    written = []
    with styled():
        for name, figure in _figures(report):
            written += [write_figure(figure, folder / f"{name}.{kind}", kind) for kind in ("png", "svg")]
    write_whole(folder / CARDS, "".join(f"{attack.card.id}\n" for attack in report.cells).encode())
    return written


def styled() -> AbstractContextManager[None]:
    """Return the context in which figures are made and written; RobenchError where matplotlib is not installed."""
    try:
        from matplotlib import rc_context
    except ImportError:
        raise RobenchError(
            "Figure files need matplotlib, which is not installed; run: pip install 'robench[figures]'."
        ) from None
    return rc_context(STYLE)


def slug(text: str) -> str:
    """Return ``text`` as part of a file name: ASCII letters and digits, at most 60."""
    letters = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text.lower())
    return "-".join(part for part in letters.split("-") if part)[:60].strip("-")


def write_figure(figure: Figure, path: Path, kind: str) -> Path:
    """Write a figure as ``png`` or ``svg``, with the same bytes every time; return the path."""
    file = io.BytesIO()
    nothing: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(file, format=kind, metadata=nothing, bbox_inches="tight")
    write_whole(path, file.getvalue())
    return path


def _figures(report: Report) -> Iterator[tuple[str, Figure]]:
    costs = (plot for found in plots.pareto(report).values() for plot in found)
    first = (*over_datasets(report), *plots.trade_offs(report))
    for plot in (*first, *model_accuracy(report), *plots.curves(report), *costs, *training(report)):
        yield f"{plot.key}-{slug(plot.title)}".rstrip("-"), chart_figure(plot)
    for place, table in enumerate(transfer_tables(report)):
        title = plots.board_title(report, table.board)
        yield f"transfer-{place + 1}-{slug(title)}", _transfer(report, table)
    for place, (_, row) in enumerate(report.rows[:MOST_MATRICES]):
        strongest = min(row.white_box, key=lambda attack: attack.score.correct, default=None)
        card = None if strongest is None else strongest.card
        if card is not None and card.clean.confusion is not None and card.robust.confusion is not None:
            name = f"{report.name(row)} {plots.radius(card.cell.threat)}"
            yield f"confusion-{place + 1}-{slug(name)}", _confusions(card)


def _new(columns: int = 1, size: tuple[float, float] = SIZE) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(size, layout="constrained")
    return figure, [figure.add_subplot(1, columns, place + 1) for place in range(columns)]


def chart_figure(plot: Plot) -> Figure:
    """Return a plot as a figure of matplotlib's; to be called within :func:`styled`."""
    figure, (axes,) = _new()
    axes.grid(axis="y", color="#dfe4ea", linewidth=0.6)
    axes.set_axisbelow(True)
    for series in plot.series:
        _series(axes, series)
    if plot.front:
        corners = [corner[0] for corner in plot.front], [corner[1] for corner in plot.front]
        axes.step(*corners, where="post", color="#566372", linestyle=(0, (3, 3)), linewidth=0.8, zorder=1)
    axes.set_xlabel(literal(plot.x.label))
    axes.set_ylabel(literal(plot.y.label))
    if plot.y.zero:
        axes.set_ylim(bottom=0)
    if names := plot.x.spelled or plot.x.names:
        axes.set_xticks([value for value, _ in names], [literal(name) for _, name in names])
        for label in axes.get_xticklabels() if plot.x.spelled else []:
            label.set(rotation=30, horizontalalignment="right")
    values = [mark.x for one in plot.series for mark in one.marks]
    if isinstance(scale(plot.x, values), Logarithmic):
        # Linear up to the smallest cost, so that 0 has a place of its own.
        axes.set_xscale("symlog", linthresh=min(value for value in values if value > 0))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)
    return figure


def _series(axes: Axes, series: Series) -> None:
    across = _errors([(mark.x, mark.across) for mark in series.marks])
    upright = _errors([(mark.y, mark.upright) for mark in series.marks])
    axes.errorbar(
        [mark.x for mark in series.marks],
        [mark.y for mark in series.marks],
        xerr=across,
        yerr=upright,
        fmt="o",
        linestyle=DASHES[series.dash % len(DASHES)] if series.joined else "none",
        color=INKS[series.tone % len(INKS)],
        markerfacecolor="white" if series.tone // len(INKS) % 2 else None,
        markersize=3 if series.joined else 4.5,
        linewidth=1.2,
        elinewidth=0.7,
        label=literal(textwrap.fill(plain(series.name, 240), 48)),
    )


def _errors(values: list[tuple[float, tuple[float, float] | None]]) -> list[list[float]] | None:
    """Return distances downwards and upwards, as matplotlib takes them."""
    if any(interval is None for _, interval in values):
        return None
    return [
        [max(value - interval[0], 0.0) for value, interval in values if interval is not None],
        [max(interval[1] - value, 0.0) for value, interval in values if interval is not None],
    ]


def _transfer(report: Report, table: TransferTable) -> Figure:
    figure, (axes,) = _new(size=(1.2 + 0.8 * (len(table.surrogates) + 1), 0.8 + 0.3 * len(table.rows)))
    shares = [
        [float("nan") if score is None else 100 * score.rate for score in (*scores, robust)]
        for _, robust, scores in table.rows
    ]
    names = [f"via {report.brief(via)}" for via in table.surrogates]
    rows = [report.name(row, table.board) for row, _, _ in table.rows]
    _heat(axes, shares, [*names, "robust"], rows, "{:.1f}")
    return figure


def _confusions(card: Card) -> Figure:
    side = max(2.4, 0.24 * len(card.data.classes))
    figure, both = _new(2, (2 * side + 0.6, side))
    for axes, outcome, title in zip(both, (card.clean, card.robust), ("clean", "adversarial"), strict=True):
        counts = outcome.confusion or []
        shares = [[100 * count / max(sum(row), 1) for count in row] for row in counts]
        names = [plain(name, 14) for name in card.data.classes] if len(counts) <= 20 else []
        _heat(axes, shares, names, names, "{:.0f}" if names else "")
        axes.set_title(f"{title}: label (row) taken for (column), %", fontsize=7)
    return figure


def _heat(axes: Axes, shares: list[list[float]], columns: list[str], rows: list[str], shown: str) -> None:
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(len(columns)), [literal(name) for name in columns], rotation=40, ha="right")
    axes.set_yticks(range(len(rows)), [literal(name) for name in rows])
    axes.spines[:].set_visible(False)
    for down, values in enumerate(shares if shown else []):
        for across, value in enumerate(values):
            if value == value and round(value):  # NaN: there is no such result
                ink = "white" if value > 55 else "black"
                axes.text(across, down, shown.format(value), ha="center", va="center", color=ink, fontsize=6)


def literal(text: str) -> str:
    """Return ``text`` so that matplotlib does not read it as a formula."""
    return text.replace("$", r"\$")
