"""LaTeX: one booktabs table a ranking, for papers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robench import Card, Exporter, leaderboard, parameter
from robench_exports.threat_words import in_latex

_HEAD = ("rank", "defense", "victim", "robust", "gain", "clean", "tax")
_TOP5 = ("robust top-5", "clean top-5")
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
    top5: bool = parameter(default=False, help="print top-5 accuracies (R@5 of captions) too, where there are any")

    def write(self, cards: Sequence[Card], target: Path) -> None:
        """Write the file: to be included with \\input."""
        published = leaderboard(cards)
        tables = [self._table(board) for board in published.boards if any(row.rank for row in board.rows)]
        tables += [self._datasets(table) for table in published.across or () if any(row.rank for row in table.rows)]
        target.write_text("\n".join(tables), encoding="utf-8")

    def _table(self, board: Any) -> str:
        rows = [row for row in board.rows if row.rank]
        top5 = self.top5 and any(row.clean_top5 for row in rows)
        size = r" $\times$ ".join(map(str, board.shape))
        title = f"{escape(board.dataset)}, {in_latex(board.norm, board.radius)}, {size}, $n = {board.n}$"
        attacked = board.norm != "corruption"
        worst = "the per-image worst case over the attacks" if attacked else "the mean over the common corruptions"
        return "\n".join(
            [
                r"\begin{table}",
                rf"\caption{{{title}. Robust accuracy is {worst}; rows that share a "
                r"rank are not told apart (exact McNemar, Holm, 5\,\%).}",
                rf"\begin{{tabular}}{{rllrrrr{'rr' * top5}}}",
                r"\toprule",
                " & ".join(_HEAD + _TOP5 * top5) + r" \\",
                r"\midrule",
                *(self._row(row, top5) for row in rows),
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def _datasets(self, table: Any) -> str:
        """Return the table over several datasets: clean and robust accuracy on each, and their means."""
        rows = [row for row in table.rows if row.rank]
        top5 = self.top5 and any(row.clean_top5 for row in rows)
        means = ["mean clean", "mean robust", *(["mean clean top-5", "mean robust top-5"] if top5 else [])]
        head = ["rank", "defense", *map(escape, table.datasets), *means, "tax elsewhere"]
        inner = ", in parentheses top-5 (R@5 of captions)" * any(
            "(" in cell for row in rows for cell in self._each(row)
        )
        return "\n".join(
            [
                r"\begin{table}",
                rf"\caption{{{escape(table.victim)}, {in_latex(table.norm, table.radius)}: clean and robust "
                rf"accuracy on each dataset{inner} ($\circ$: trained on it). "
                r"Means count datasets alike; intervals take datasets and images as samples; "
                r"rows that share a rank are not told apart (exact McNemar, Holm over "
                r"datasets, 5\,\%).}",
                rf"\begin{{tabular}}{{rl{'r' * (len(head) - 2)}}}",
                r"\toprule",
                " & ".join(head) + r" \\",
                r"\midrule",
                *(self._over_datasets(row, top5) for row in rows),
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def _over_datasets(self, row: Any, top5: bool) -> str:
        source = f", trained on {row.trained_on}" if row.trained_on else ""
        means = [
            self._number(100 * each.rate, 100 * each.low, 100 * each.high) if each else "--"
            for each in (row.clean, row.robust, *((row.clean_top5, row.robust_top5) if top5 else ()))
        ]
        tax = "--" if row.tax_elsewhere is None else f"${row.tax_elsewhere:+.1f}$"
        return " & ".join((str(row.rank), escape(row.defense + source), *self._each(row), *means, tax)) + r" \\"

    def _each(self, row: Any) -> list[str]:
        """Return clean and robust accuracy on each dataset."""
        return [
            f"{self._share(each.clean, each.clean_top5)} / {self._share(each.robust, each.robust_top5)}"
            + (r" $\circ$" if each.trained_there else "")
            for each in row.datasets
        ]

    def _row(self, row: Any, top5: bool) -> str:
        robust, clean = (
            self._number(100 * each.rate, 100 * each.low, 100 * each.high) for each in (row.robust, row.clean)
        )
        gain, tax = (
            "--" if each is None else self._number(each.points, each.low, each.high, "+")
            for each in (row.gain, row.tax)
        )
        names = escape(row.title), escape(row.victim.label)
        five = [
            "--" if each is None else self._number(100 * each.rate, 100 * each.low, 100 * each.high)
            for each in (row.robust_top5, row.clean_top5)
        ]
        return " & ".join((str(row.rank), *names, robust, gain, clean, tax, *five * top5)) + r" \\"

    def _share(self, rate: float, top5: Any) -> str:
        return f"${100 * rate:.1f}$" + (f" (${100 * top5:.1f}$)" if self.top5 and isinstance(top5, float) else "")

    def _number(self, value: float, low: float, high: float, sign: str = "") -> str:
        form = f"{sign}.1f"
        return f"${value:{form}}$" + (f" $[{low:{form}}, {high:{form}}]$" if self.intervals else "")


def escape(text: str) -> str:
    """Return ``text`` as LaTeX that prints it."""
    return text.translate(_SPECIAL)
