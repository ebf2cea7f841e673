"""CSV: one line a row of the leaderboard."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robench import Card, Exporter, leaderboard

#: A spreadsheet takes a text that begins with one of these for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@")


class CSV(Exporter):
    """Write one line a row, with intervals, costs and verdict; accuracies are shares, gains are points."""

    name = "csv"

    def write(self, cards: Sequence[Card], target: Path) -> None:
        """Write the file; its first line has the names of the columns."""
        lines = [_line(board, row) for board in leaderboard(cards).boards for row in board.rows]
        with target.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(lines[0]) if lines else ["dataset"], lineterminator="\n")
            writer.writeheader()
            writer.writerows({key: _cell(value) for key, value in line.items()} for line in lines)


def _line(board: Any, row: Any) -> dict[str, Any]:
    line: dict[str, Any] = {
        "dataset": board.dataset,
        "norm": board.norm,
        "eps": board.eps,
        "radius": board.radius,
        "resolution": "x".join(map(str, board.shape)),
        "n": board.n,
        "test": board.test,
        "rank": row.rank,
        "defense": row.defense.label,
        "victim": row.victim.label,
        "seed": row.seed,
        "verdict": row.verdict,
    }
    for name, accuracy in (("clean", row.clean), ("robust", row.robust)):
        line |= {name: None, f"{name}_low": None, f"{name}_high": None}
        if accuracy is not None:
            line |= {name: accuracy.rate, f"{name}_low": accuracy.low, f"{name}_high": accuracy.high}
    for name, accuracy in (("clean_top5", row.clean_top5), ("robust_top5", row.robust_top5)):
        line[name] = None if accuracy is None else accuracy.rate
    for name, change in (("gain", row.gain), ("tax", row.tax)):
        line |= {name: None, f"{name}_low": None, f"{name}_high": None}
        if change is not None:
            line |= {name: change.points, f"{name}_low": change.low, f"{name}_high": change.high}
    costs = {key: getattr(row.cost, key) for key in row.cost.__struct_fields__ if key != "devices"}
    return {
        **line,
        **costs,
        "device": "; ".join(row.cost.devices),
        "front": "; ".join(row.front),
        "attacks": "; ".join(attack.label for attack in row.attacks),
        "reasons": " ".join(row.reasons),
        "weights": row.weights,
        "certified": row.certified.rate if row.certified else None,
        "certified_low": row.certified.low if row.certified else None,
        "certified_high": row.certified.high if row.certified else None,
        "published": "; ".join(map(_stated, row.published or ())),
    }


def _stated(figure: Any) -> str:
    """Return a published figure of the row, such as ``clean 87.65 (report 000, table 5)``."""
    through = f" via {figure.surrogate}" if figure.surrogate else ""
    under = f" under {figure.attack}{through}" if figure.attack else ""
    return f"{figure.figure}{under} {figure.percent:.15g} ({figure.source}, {figure.place})"


def _cell(value: Any) -> Any:
    """Return a text so that a spreadsheet shows it; numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
