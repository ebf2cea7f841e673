"""Figure and table files: complete, readable by what reads such files, and the same every time."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from robench.evidence.card import Card
from robench.evidence.statistics import proportion
from robench_leaderboard.ranking.board import boards
from robench_leaderboard.report import write_figures, write_tables
from robench_leaderboard.report.csv_and_latex import latex
from robench_leaderboard.report.figure_files import slug
from robench_leaderboard.report.report_data import Report, collect

MakeCard = Callable[..., Card]
CARDS = Path(__file__).resolve().parents[2] / "leaderboard" / "cards"
#: Of every setting but the perceptrons', so that what is counted here stays as it is when cards are added.
FIRST = [*CARDS.glob("digits-tiny-clip-*.json"), *CARDS.glob("imagefolder-resnet20-*.json")]
SOME = [path for name in ("none", "vpt") for path in CARDS.glob(f"digits-tiny-clip-{name}-pgd-*.json")]


def report(*cards: Card) -> Report:
    return Report(tuple(boards(cards)), {})


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# Tables


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    write_tables(collect(FIRST), folder)
    return folder


def vpt_at_8() -> tuple[int, int, int]:
    """Return how many images are right unattacked, under every attack of the row, and under the best transfer."""
    cards = [msgspec.json.decode(path.read_bytes(), type=Card) for path in CARDS.glob("*-vpt-*Linf-8_255*")]
    white, transfer = ([card for card in cards if (card.cell.surrogate is None) is own] for own in (True, False))
    assert (len(white), len(transfer)) == (2, 2)
    robust = sum(map(all, zip(*(card.robust.mask() for card in white), strict=True)))
    return cards[0].clean.correct, robust, min(card.robust.correct for card in transfer)


def test_the_rows_are_those_of_the_leaderboard(tables: Path):
    rows = {(row["dataset"], row["defense"], row["eps"]): row for row in read(tables / "rows.csv")}
    assert len(rows) == 12
    row = rows["digits", "vpt", str(8 / 255)]
    assert (row["rank"], row["verdict"], row["n"], row["trainable"]) == ("1", "VALID", "500", "2880")
    clean, robust, transferred = vpt_at_8()
    assert (row["clean_correct"], row["robust_correct"], row["transfer_correct"]) == (
        str(clean), str(robust), str(transferred)
    )  # fmt: skip
    assert float(row["robust_low"]) == pytest.approx(proportion(robust, 500)[0], abs=1e-6)


def test_there_is_a_line_a_card_and_a_line_a_class(tables: Path):
    cards = {cell.card.id: cell.card for cell in collect(FIRST).cells}
    cells = read(tables / "cells.csv")
    assert {cell["card"] for cell in cells} == set(cards)
    for cell in cells:
        card = cards[cell["card"]]
        assert int(cell["robust_correct"]) == card.robust.correct
        assert float(cell["macro_f1_robust"]) == card.robust.macro_f1
        assert int(cell["forwards"]) == card.cost.craft.forwards
    classes = read(tables / "classes.csv")
    assert len(classes) == 40 * 2 * 10
    one = next(entry for entry in classes if entry["images"] == "adversarial" and entry["label"] == "3")
    assert [float(one[name]) for name in ("precision", "recall", "f1", "support")] == cards[
        one["card"]
    ].robust.per_class[3]


def unescaped(text: str) -> str:
    return re.sub(r"\\([&%$#_{}])", r"\1", text)


def test_latex_tables_are_balanced_and_hold_the_numbers(tables: Path):
    files = sorted(tables.glob("*.tex"))
    assert len(files) == 6
    for file in files:
        lines = file.read_text().splitlines()
        columns = re.search(r"\\begin{tabular}{([lr]+)}", file.read_text())
        assert columns is not None
        assert [line for line in lines if line.startswith("\\")] == [
            lines[2], r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}",
        ]  # fmt: skip
        for line in lines:
            if line.endswith(r"\\"):
                assert len(re.findall(r"(?<!\\)&", line)) == len(columns[1]) - 1
    board = next(file for file in files if "digits-linf-8-255" in file.name).read_text()
    _, robust, transferred = vpt_at_8()
    shown = [
        f"{100 * count / 500:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        for count in (robust, transferred)
        for low, high in [proportion(count, 500)]
    ]
    (line,) = [line for line in board.splitlines() if line.startswith("1 & vpt & tiny-clip & ")]
    cells = line.removesuffix(r" \\").split(" & ")
    assert (cells[4], cells[8], cells[9]) == (*shown, "2,880 of 85,568")


@pytest.mark.parametrize("name", ["50% & _more_", "$x^2$ #1", "a~b\\input{secret}", "{}}{", "<|>", "\\end{tabular}"])
def test_latex_shows_names_literally(make_card: MakeCard, name: str):
    whole = report(make_card(), make_card(defense=name))
    line = next(line for line in latex(whole, whole.boards[0]).splitlines() if line.startswith(("1 &", "2 &", "-- &")))
    commands = set(re.findall(r"\\([a-zA-Z]+)", line))
    assert commands <= {"textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"}
    assert len(re.findall(r"(?<!\\)&", line)) == 6
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", line):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"(?<!\\)[%$#_]", line)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula(make_card: MakeCard, tmp_path: Path, name: str):
    write_tables(report(make_card(), make_card(defense=name, victim=name, attack=name, dataset=name)), tmp_path)
    for path in tmp_path.glob("*.csv"):
        for row in csv.reader(path.read_text().splitlines()):
            assert not any(cell.lstrip().startswith(("=", "+", "-", "@")) for cell in row)


def test_names_with_commas_quotes_and_lines_stay_one_cell(make_card: MakeCard, tmp_path: Path):
    write_tables(report(make_card(defense='a,"b"\nc')), tmp_path)
    (row,) = read(tmp_path / "rows.csv")
    assert row["defense"] == 'a,"b" c'


# Figures


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    write_figures(collect(SOME), folder)
    return folder


def test_every_chart_is_a_picture_and_a_drawing(figures: Path):
    stems = {kind: {path.stem for path in figures.glob(f"*.{kind}")} for kind in ("png", "svg")}
    assert stems["png"] == stems["svg"]
    for start in ("clean-robust", "eps", "pareto-fit-time", "pareto-ms-per-image", "transfer", "training", "confusion"):
        assert any(stem.startswith(f"{start}-") for stem in stems["png"]), start
    assert "clean-robust-2-digits-linf-8-255-3x32x32-n-500" in stems["png"]
    for path in figures.glob("*.png"):
        with Image.open(path) as image:
            assert image.width > 300
            assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 3
    for path in figures.glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")  # noqa: S314 - our own


def test_the_same_cards_give_the_same_bytes(figures: Path, tmp_path: Path):
    """Drawn again in another process, with another hash seed, on another day."""
    code = (
        "import sys; from pathlib import Path\n"
        "from robench_leaderboard.report import collect, write_figures\n"
        "write_figures(collect(map(Path, sys.argv[2:])), Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path, *SOME], check=True)
    names = sorted(path.name for path in figures.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert [name for name in names if (figures / name).read_bytes() != (tmp_path / name).read_bytes()] == []
    assert not any(b"<dc:date>" in path.read_bytes() for path in figures.glob("*.svg"))


@pytest.mark.parametrize("name", ["$\\frac$", "$x$", "_", "a\\b", "<&>", "日本"])
def test_names_are_no_formulas(make_card: MakeCard, tmp_path: Path, name: str, recwarn: Any):
    cards = [make_card(defense=name, eps=eps) for eps in (4 / 255, 8 / 255)] + [make_card(dataset="digits")]
    assert write_figures(report(*cards), tmp_path)
    assert [warning for warning in recwarn if "Glyph" not in str(warning.message)] == []


@pytest.mark.parametrize(
    ("text", "name"),
    [("Linf 8/255, n = 5", "linf-8-255-n-5"), ("../../etc", "etc"), ("é日", ""), ("a" * 99, "a" * 60), ("A--b", "a-b")],
)
def test_titles_become_file_names(text: str, name: str):
    assert slug(text) == name
