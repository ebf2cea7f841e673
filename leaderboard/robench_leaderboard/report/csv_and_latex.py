"""The report's numbers as CSV and as LaTeX tables (booktabs)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from robench.contracts.threat_model import format_eps
from robench.evidence.files import write_whole
from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.across_datasets import Across
from robench_leaderboard.ranking.attack_outcome import Score
from robench_leaderboard.ranking.board import Board
from robench_leaderboard.ranking.published_beside import measured
from robench_leaderboard.render import datasets_table, formatting
from robench_leaderboard.report.confusion_matrices import one_versus_rest
from robench_leaderboard.report.figure_files import slug
from robench_leaderboard.report.plots import board_title
from robench_leaderboard.report.report_data import Report
from robench_leaderboard.report.results_table import Line
from robench_leaderboard.statistics.class_averages import averages

Cell = str | int | float | None

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "†": r"\dag{}",
        "°": r"$^\circ$",
        "…": r"\dots{}",
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    }
)


def write_tables(report: Report, folder: Path) -> list[Path]:
    """Write rows, cells, averages, classes and what is published as CSV, each board as LaTeX; return the paths."""
    contents = {
        "rows.csv": _csv(_rows(report)),
        "cells.csv": _csv(_cells(report)),
        "averages.csv": _csv(_averages(report)),
        "classes.csv": _csv(_classes(report)),
    }
    if report.published:
        contents["published.csv"] = _csv(_published(report))
    for place, board in enumerate(report.boards):
        contents[f"board-{place + 1}-{slug(board_title(report, board))}.tex"] = latex(report, board)
    for place, table in enumerate(report.across):
        contents[f"datasets-{place + 1}-{slug(datasets_table.caption(table))}.tex"] = latex_of_datasets(table)
    for name, content in contents.items():
        write_whole(folder / name, content.encode())
    return [folder / name for name in contents]


def latex(report: Report, board: Board) -> str:
    """Return one board as a ``tabular``; it needs the package booktabs."""
    top5 = ["clean top-5 %", "robust top-5 %"] if board.has_top5 else []
    transfer = ["transfer %"] if board.has_transfer else []
    certified = ["certified %"] if board.has_certified else []
    heads = ["rank", "defense", "victim", "clean %", "robust %", *certified, "gain", *top5, *transfer, "trainable"]
    lines = [
        f"% {plain(board_title(report, board), 200)}",
        "% Wilson 95 % intervals; robust: per image the worst case over all attacks of the row. Needs booktabs.",
        f"\\begin{{tabular}}{{rll{'r' * (len(heads) - 3)}}}",
        r"\toprule",
        _latex_row(heads),
        r"\midrule",
    ]
    for row in board.rows:
        line = Line(report, board, row)
        words = [
            str(row.rank or "--"),
            formatting.title(row),
            line.victim,
            formatting.percent(row.clean),
            formatting.robust(row),
            *([formatting.percent(row.certified)] if certified else []),
            "ref." if row.undefended else formatting.gain(row),
            *(formatting.percent(score) for score in (row.clean_top5, row.robust_top5) if top5),
            *([formatting.percent(line.transfer)] if transfer else []),
            formatting.trainable(row),
        ]
        lines.append(_latex_row(words))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def latex_of_datasets(table: Across) -> str:
    """Return a table over several datasets as a ``tabular``; it needs the package booktabs."""
    heads = datasets_table.heads(table)
    lines = [
        f"% {datasets_table.caption(table)}",
        f"% {datasets_table.legend(table)} Needs booktabs.",
        f"\\begin{{tabular}}{{rl{'r' * (len(heads) - 2)}}}",
        r"\toprule",
        _latex_row(heads),
        r"\midrule",
        *(_latex_row(datasets_table.words(table, row)) for row in table.rows),
    ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_row(words: Iterable[str]) -> str:
    return " & ".join(word.translate(_LATEX) for word in words) + r" \\"


def _csv(lines: Iterable[Sequence[Cell]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([_harmless(cell) for cell in line] for line in lines)
    return file.getvalue()


def _harmless(cell: Cell) -> Cell:
    """Keep a spreadsheet from running text that begins like a formula."""
    if not isinstance(cell, str):
        return cell
    text = plain(cell, 300)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _setting(board: Board) -> list[Cell]:
    setting = board.setting
    size, radius = "x".join(map(str, setting.shape)), format_eps(setting.eps)
    return [setting.dataset, size, setting.n, setting.norm, setting.eps, radius]


def _counted(score: Score | None) -> list[Cell]:
    if score is None:
        return [None, None, None]
    return [score.correct, *(round(bound, 6) for bound in score.interval)]


def _rows(report: Report) -> Iterator[list[Cell]]:
    yield [
        *("dataset", "shape", "n", "norm", "eps", "radius", "victim", "defense", "seed", "rank", "verdict", "evidence"),
        *("clean_correct", "clean_low", "clean_high", "robust_correct", "robust_low", "robust_high"),
        *("clean_top5", "robust_top5", "transfer_correct", "transfer_low", "transfer_high", "trainable"),
        *("parameters", "fit_seconds"),
        *("craft_ms", "score_ms", "peak_bytes", "certified", "certified_low", "certified_high"),
    ]
    for board, row in report.rows:
        line = Line(report, board, row)
        yield [
            *_setting(board),
            *(row.victim, row.title, row.seed, row.rank, row.verdict, row.evidence.words),
            *(*_counted(row.clean), *_counted(row.headline)),
            *(None if score is None else score.correct for score in (row.clean_top5, row.robust_top5)),
            *_counted(line.transfer),
            *(row.trainable, row.parameters, row.fit_seconds, row.craft_ms, row.score_ms, row.peak_bytes),
            *_counted(row.certified),
        ]


def _cells(report: Report) -> Iterator[list[Cell]]:
    yield [
        *("card", "dataset", "shape", "n", "norm", "eps", "radius", "victim", "defense", "seed", "attack", "access"),
        *("surrogate", "clean_correct", "robust_correct", "robust_low", "robust_high", "macro_f1_clean"),
        *("clean_top5", "robust_top5"),
        *("macro_f1_robust", "forwards", "backwards", "craft_seconds", "verdict"),
    ]
    for board, row in report.rows:
        for attack in row.attacks:
            card = attack.card
            yield [
                card.id,
                *_setting(board),
                *(row.victim, row.defense, row.seed, attack.label, attack.access, attack.surrogate or None),
                *(card.clean.correct, card.robust.correct, card.robust.low, card.robust.high),
                *(card.clean.macro_f1, card.clean.top5, card.robust.top5, card.robust.macro_f1),
                *(card.cost.craft.forwards, card.cost.craft.backwards, card.cost.craft.seconds, attack.verdict),
            ]


def _published(report: Report) -> Iterator[list[Cell]]:
    yield [
        *("card", "victim", "defense", "attack", "eps", "radius", "figure", "published_percent", "measured"),
        *("low", "high", "split", "name", "source", "place", "note"),
    ]
    for pairing in report.published:
        entry = pairing.published
        for card in pairing.cards:
            cell, found = card.cell, measured(pairing, card)
            threat = (cell.attack_label, cell.threat.eps, format_eps(cell.threat.eps))
            attacked = threat if pairing.figure.startswith("robust") else (None, None, None)
            low, high = (None, None) if found is None or found.interval is None else found.interval
            yield [
                *(card.id, cell.victim.label, cell.defense.label, *attacked, pairing.figure),
                *(entry.figures[pairing.figure], None if found is None else found.rate, low, high),
                *(entry.split, entry.name, entry.source, entry.place, entry.note),
            ]


def _averages(report: Report) -> Iterator[list[Cell]]:
    names = [f"{kind}_{score}" for kind in ("macro", "weighted", "micro") for score in ("precision", "recall", "f1")]
    yield ["card", "images", "balanced_accuracy", *names]
    for attack in report.cells:
        card = attack.card
        for images, outcome in (("clean", card.clean), ("adversarial", card.robust)):
            found = averages(outcome)
            if found is not None:
                values = [found.balanced_accuracy, *(value for _, scores in found.rows for value in scores)]
                yield [card.id, images, *(round(value, 6) for value in values)]


def _classes(report: Report) -> Iterator[list[Cell]]:
    yield ["card", "images", "class", "label", "precision", "recall", "f1", "support", "one_versus_rest_accuracy"]
    for attack in report.cells:
        card = attack.card
        for images, outcome in (("clean", card.clean), ("adversarial", card.robust)):
            rest = one_versus_rest(outcome)
            for label, (name, scores) in enumerate(zip(card.data.classes, outcome.per_class, strict=False)):
                yield [
                    card.id,
                    images,
                    name,
                    label,
                    *scores,
                    round(rest[label], 6) if rest and label < len(rest) else None,
                ]
