"""The table over several datasets as words, the same on every page, in LaTeX and in a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.across_datasets import EACH, Across, AcrossRow, Mean
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.render.formatting import NONE

#: Marks a dataset that the row was trained on.
SEEN = "°"

LEGEND = (
    "Per dataset: clean / robust{transfer}, in percent; ° trained on this dataset; ! not ranked there. Means count "
    "each dataset alike; their 95 % intervals take datasets and images as samples. Rows that share a rank are not told "
    "apart: exact McNemar tests on the images of each dataset, Holm-corrected over all pairs and datasets, at 5 %; a "
    "row is behind if it is worse on at least one dataset and better on none. Tax: clean accuracy lost against the "
    "undefended victim, in points, where it was trained and elsewhere."
)


def legend(table: Across) -> str:
    """Return what the columns of a table mean."""
    return LEGEND.format(transfer=" / lowest transfer accuracy" if table.has_transfer else "")


def caption(table: Across) -> str:
    """Return the table's title."""
    return f"{len(table.boards)} datasets: {table.radius}, victim {plain(table.victim, 80)}"


def heads(table: Across) -> list[str]:
    """Return the names of the columns."""
    datasets = [f"{plain(board.setting.dataset, 60)} (n = {board.setting.n:,})" for board in table.boards]
    transfer = ["mean transfer %"] if table.has_transfer else []
    means = ["mean clean %", "mean robust % [95 % CI]", *transfer]
    return ["rank", "defense", *datasets, *means, "tax there", "tax elsewhere"]


def words(table: Across, row: AcrossRow) -> list[str]:
    """Return one row as text, in the order of the columns."""
    cells = [
        _cell(found, seen, transfer, table.has_transfer)
        for found, seen, transfer in zip(row.rows, row.seen, row.transfers, strict=True)
    ]
    transfer = [_percent(row.transfer)] if table.has_transfer else []
    taxes = ["reference", "reference"] if row.undefended else [_points(row.tax_there), _points(row.tax_elsewhere)]
    means = [_percent(row.clean.rate if row.clean else None), _interval(row.robust), *transfer]
    return [str(row.rank or NONE), title(table, row), *cells, *means, *taxes]


def title(table: Across, row: AcrossRow) -> str:
    """Name the row by its defense, what it was trained on, and its seed where there are several."""
    trained = f", trained on {'each dataset' if row.source == EACH else plain(row.source, 60)}" if row.source else ""
    several = len({other.seed for other in table.rows}) > 1
    return f"{plain(row.defense, 80)}{trained}{f', seed {row.seed}' if several else ''}"


def _cell(row: Row | None, seen: bool, transfer: float | None, has_transfer: bool) -> str:
    if row is None:
        return NONE
    robust = NONE if row.headline is None else f"{100 * row.headline.rate:.1f}"
    parts = [f"{100 * row.clean.rate:.1f}", robust, *([_percent(transfer)] if has_transfer else [])]
    return " / ".join(parts) + (f" {SEEN}" if seen else "") + (" !" if row.reasons else "")


def _percent(rate: float | None) -> str:
    return NONE if rate is None else f"{100 * rate:.1f}"


def _interval(mean: Mean | None) -> str:
    return NONE if mean is None else f"{100 * mean.rate:.1f} [{100 * mean.low:.1f}, {100 * mean.high:.1f}]"


def _points(points: float | None) -> str:
    return NONE if points is None else f"{points:+.1f}" if abs(points) >= 0.05 else "0.0"


#: What templates call these.
FILTERS: dict[str, Callable[..., Any]] = {"caption": caption, "heads": heads, "words": words, "legend": legend}
