"""LaTeX: one booktabs table a ranking, for papers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robench import Card, Exporter, leaderboard, parameter

_HEAD = ("rank", "defense", "victim", "robust", "gain", "clean", "tax")
_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "`": r"\textasciigrave{}",
    }
)


class LaTeX(Exporter):
    """Write booktabs tables (\\usepackage{booktabs}); only ranked rows are in them."""

    name = "latex"
    intervals: bool = parameter(default=True, help="print 95 % intervals behind the numbers")

    def write(self, cards: Sequence[Card], target: Path) -> None:
        """Write the file: to be included with \\input."""
        tables = [self._table(board) for board in leaderboard(cards).boards if any(row.rank for row in board.rows)]
        target.write_text("\n".join(tables), encoding="utf-8")

    def _table(self, board: Any) -> str:
        rows = [row for row in board.rows if row.rank]
        size = r" $\times$ ".join(map(str, board.shape))
        eps = f"{board.eps * 255:.4g}/255" if board.norm == "Linf" else f"{board.eps:.4g}"
        title = f"{escape(board.dataset)}, {board.norm}, $\\epsilon = {eps}$, {size}, $n = {board.n}$"
        return "\n".join(
            [
                r"\begin{table}",
                rf"\caption{{{title}. Robust accuracy is the per-image worst case over the attacks; rows that share a "
                r"rank are not told apart (exact McNemar, Holm, 5\,\%).}",
                r"\begin{tabular}{rllrrrr}",
                r"\toprule",
                " & ".join(_HEAD) + r" \\",
                r"\midrule",
                *(self._row(row) for row in rows),
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def _row(self, row: Any) -> str:
        robust, clean = (
            self._number(100 * each.rate, 100 * each.low, 100 * each.high) for each in (row.robust, row.clean)
        )
        gain, tax = (
            "--" if each is None else self._number(each.points, each.low, each.high, "+")
            for each in (row.gain, row.tax)
        )
        names = escape(row.title), escape(row.victim.label)
        return " & ".join((str(row.rank), *names, robust, gain, clean, tax)) + r" \\"

    def _number(self, value: float, low: float, high: float, sign: str = "") -> str:
        form = f"{sign}.1f"
        return f"${value:{form}}$" + (f" $[{low:{form}}, {high:{form}}]$" if self.intervals else "")


def escape(text: str) -> str:
    """Return ``text`` as LaTeX that prints it."""
    return text.translate(_SPECIAL)
