"""The table over several datasets as words, the same on every page, in LaTeX and in a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.across_datasets import EACH, Across, AcrossRow, Mean
from robench_leaderboard.ranking.attack_outcome import Score
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.render.formatting import NONE

#: Marks a dataset that the row was trained on.
SEEN = "°"

LEGEND = (
    "Per dataset: clean / robust{transfer}, in percent{top5}; ° trained on this dataset; ! not ranked there. Means "
    "count each dataset alike; their 95 % intervals take datasets and images as samples. Rows that share a rank are "
    "not told apart: exact McNemar tests on the images of each dataset, Holm-corrected over all pairs and datasets, at "
    "5 %; a row is behind if it is worse on at least one dataset and better on none. Tax: clean accuracy lost against "
    "the undefended victim, in points, where it was trained and elsewhere."
)

#: What stands in parentheses.
TOP5 = ", with top-5 accuracy (R@5 of captions) in parentheses, under attack the lowest over the end-to-end attacks"


def legend(table: Across) -> str:
    """Return what the columns of a table mean."""
    transfer = " / lowest transfer accuracy" if table.has_transfer else ""
    return LEGEND.format(transfer=transfer, top5=TOP5 if table.has_top5 else "")


def caption(table: Across) -> str:
    """Return the table's title."""
    return f"{len(table.boards)} datasets: {table.radius}, victim {plain(table.victim, 80)}"


def heads(table: Across) -> list[str]:
    """Return the names of the columns."""
    datasets = [f"{plain(board.setting.dataset, 60)} (n = {board.setting.n:,})" for board in table.boards]
    transfer = ["mean transfer %"] if table.has_transfer else []
    top5 = ["mean clean top-5 %", "mean robust top-5 % [95 % CI]"] if table.has_mean_top5 else []
    means = ["mean clean %", "mean robust % [95 % CI]", *top5, *transfer]
    return ["rank", "defense", *datasets, *means, "tax there", "tax elsewhere"]


def words(table: Across, row: AcrossRow) -> list[str]:
    """Return one row as text, in the order of the columns."""
    cells = [
        _cell(found, seen, transfer, table.has_transfer)
        for found, seen, transfer in zip(row.rows, row.seen, row.transfers, strict=True)
    ]
    transfer = [_percent(row.transfer)] if table.has_transfer else []
    taxes = ["reference", "reference"] if row.undefended else [_points(row.tax_there), _points(row.tax_elsewhere)]
    top5 = [*_both(row.clean_top5, row.robust_top5)] if table.has_mean_top5 else []
    means = [*_both(row.clean, row.robust), *top5, *transfer]
    return [str(row.rank or NONE), title(table, row), *cells, *means, *taxes]


def title(table: Across, row: AcrossRow) -> str:
    """Name the row by its defense, what it was trained on, and its seed where there are several."""
    trained = f", trained on {'each dataset' if row.source == EACH else plain(row.source, 60)}" if row.source else ""
    several = len({other.seed for other in table.rows}) > 1
    return f"{plain(row.defense, 80)}{trained}{f', seed {row.seed}' if several else ''}"


def _cell(row: Row | None, seen: bool, transfer: float | None, has_transfer: bool) -> str:
    if row is None:
        return NONE
    robust = NONE if row.headline is None else _with_top5(row.headline, row.robust_top5)
    parts = [_with_top5(row.clean, row.clean_top5), robust, *([_percent(transfer)] if has_transfer else [])]
    return " / ".join(parts) + (f" {SEEN}" if seen else "") + (" !" if row.reasons else "")


def _with_top5(score: Score, top5: Score | None) -> str:
    return f"{100 * score.rate:.1f}" + (f" ({100 * top5.rate:.1f})" if top5 is not None else "")


def _both(clean: Mean | None, robust: Mean | None) -> tuple[str, str]:
    return _percent(clean.rate if clean else None), _interval(robust)


def _percent(rate: float | None) -> str:
    return NONE if rate is None else f"{100 * rate:.1f}"


def _interval(mean: Mean | None) -> str:
    return NONE if mean is None else f"{100 * mean.rate:.1f} [{100 * mean.low:.1f}, {100 * mean.high:.1f}]"


def _points(points: float | None) -> str:
    return NONE if points is None else f"{points:+.1f}" if abs(points) >= 0.05 else "0.0"


#: What templates call these.
FILTERS: dict[str, Callable[..., Any]] = {"caption": caption, "heads": heads, "words": words, "legend": legend}
