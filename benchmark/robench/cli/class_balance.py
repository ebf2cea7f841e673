"""How many images each class has, in each split and before balancing: as a table, a bar chart and CSV."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.table import Table
from rich.text import Text

from robench.contracts.components import Dataset, Split
from robench.contracts.examples import Examples
from robench.errors import RobenchError
from robench.evidence.card import ComponentRecord
from robench.evidence.files import write_whole
from robench.evidence.plain_text import as_file_name, plain
from robench.pipeline.stages.load import serve
from robench.plan.cell import SelectedComponent, type_of

#: The parameter by which datasets are asked for as many training images of each class. Those of a class that is filled
#: up are its own first, then a copy of each in the same order, and so on.
BALANCE = "balance"
#: The column of the images before that.
BEFORE = "train before"
#: Classes at either end that the terminal shows; more are in the CSV.
CLASSES = 40
#: Characters of the longest bar in the terminal, and classes that are named in the chart.
BAR, NAMED = 24, 60


@dataclass(frozen=True)
class Counted:
    """Hold a dataset's splits and its images by class.

    Attributes:
        record: the dataset, as a card names it.
        classes: names in label order.
        splits: what each split serves; a split without images is missing.
        columns: heading -> images of each class; ``train before`` where the dataset was balanced.
    """

    record: ComponentRecord
    classes: tuple[str, ...]
    splits: dict[Split, Examples]
    columns: dict[str, list[int]]

    @property
    def label(self) -> str:
        """Return the name with the parameters that were changed."""
        return self.record.label

    @property
    def stem(self) -> str:
        """Return how the names of its files begin; those of other parameters or other images begin otherwise.

        Data sets as they come have their name, the others also the start of a digest.
        """
        record = self.record
        name = as_file_name(record.name)
        if not record.changed and not record.files:
            return name
        told = json.dumps([record.label, record.files, record.hashed], sort_keys=True)
        return f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"

    @property
    def shown(self) -> tuple[Split, Examples]:
        """Return the split that is trained on; of a dataset that has none, the one for testing."""
        split: Split = "train" if "train" in self.splits else "test"
        return split, self.splits[split]

    @property
    def bars(self) -> dict[str, list[int]]:
        """Return the columns that are drawn: those of the split that is shown."""
        return {heading: counts for heading, counts in self.columns.items() if heading.startswith(self.shown[0])}

    @property
    def values(self) -> dict[str, Any]:
        """Return the table as JSON values; a column is a split, or ``train before`` balancing."""
        rows = [
            {"label": label, "class": name, "images": {split: counts[label] for split, counts in self.columns.items()}}
            for label, name in enumerate(self.classes)
        ]
        totals = {split: sum(counts) for split, counts in self.columns.items()}
        return {"dataset": self.label, "images": totals, "classes": rows}

    def write(self, folder: Path) -> list[Path]:
        """Write the table as CSV and the bar chart as PNG and SVG; return the files.

        Raises:
            RobenchError: matplotlib is not installed.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["label", "class", *self.columns])
        for label, name in enumerate(self.classes):
            writer.writerow([label, name, *(counts[label] for counts in self.columns.values())])
        table = folder / f"{self.stem}-class-balance.csv"
        write_whole(table, text.getvalue().encode())
        return [table, *_chart(self, folder)]


def count(chosen: SelectedComponent) -> Counted:
    """Return the images of each class in each split of a dataset; RobenchError if it has no test split."""
    dataset: Dataset = type_of(chosen, Dataset)
    splits: dict[Split, Examples] = {"test": serve(dataset, "test")}
    for split in get_args(Split):
        try:
            served = serve(dataset, split) if split != "test" else splits["test"]
        except RobenchError:  # a set with nothing to train on is one
            continue
        splits |= {split: served} if len(served) else {}
    classes, columns = dataset.classes(), dict[str, list[int]]()
    for split in [split for split in get_args(Split) if split in splits]:
        before = _unbalanced(chosen) if split == "train" else None
        if before is not None:
            columns[BEFORE] = _of_each(before, len(classes))
        columns[split] = _of_each(splits[split], len(classes))
    return Counted(chosen.record(), classes, splits, columns)


def _unbalanced(chosen: SelectedComponent) -> Examples | None:
    """Return the training images of a balanced dataset as they were before; None if it is not balanced."""
    changed = chosen.changed
    if BALANCE not in changed:
        return None
    rest = {name: value for name, value in changed.items() if name != BALANCE}
    before = chosen.offer.build(rest)
    return serve(before, "train") if isinstance(before, Dataset) else None


def _of_each(examples: Examples, classes: int) -> list[int]:
    found: list[int] = examples.labels.bincount(minlength=classes).tolist()
    return found


def print_table(counted: Counted) -> None:
    """Print the classes with their images and a bar, and how unequal they are."""
    console = Console(highlight=False)
    console.print(Text(plain(counted.label, 300), style="bold"))
    split, _ = counted.shown
    table = Table("label", "class", box=None, header_style="bold", pad_edge=False)
    for heading in counted.columns:
        table.add_column(heading, justify="right")
    table.add_column("", no_wrap=True, overflow="crop")
    longest = max(counted.columns[split], default=0)
    for label, name in enumerate(counted.classes):
        if len(counted.classes) > CLASSES and CLASSES // 2 <= label < len(counted.classes) - CLASSES // 2:
            if label == CLASSES // 2:
                table.add_row("", f"... {len(counted.classes) - CLASSES} more ...")
            continue
        numbers = [f"{counts[label]:,}" for counts in counted.columns.values()]
        bar = "█" * round(BAR * counted.columns[split][label] / max(longest, 1))
        # Text, since a class may be named anything.
        table.add_row(*map(Text, (str(label), plain(name, 60), *numbers, bar)))
    totals = [f"{sum(counts):,}" for counts in counted.columns.values()]
    table.add_row("", "all", *totals, "", style="bold")
    console.print(table)
    for line in balance_lines(counted):
        console.print(line, markup=False, soft_wrap=True)


def balance_lines(counted: Counted) -> Iterator[str]:
    """Yield for each column that is drawn how its largest class compares with its smallest."""
    for heading, counts in counted.bars.items():
        low, high = min(counts), max(counts)
        if low == high:
            yield f"{heading}: {low:,} images in every class"
        else:
            times = f"the largest has {high / low:.2f} times the images of the smallest" if low else "and one has none"
            yield f"{heading}: {low:,} to {high:,} images a class; {times}"


def _chart(counted: Counted, folder: Path) -> list[Path]:
    from robench_leaderboard.report.figure_files import INKS, literal, styled, write_figure

    with styled():
        from matplotlib.figure import Figure

        rows, bars = len(counted.classes), counted.bars
        figure = Figure((4.5, max(1.6, min(12.0, 0.22 * rows + 0.8))), layout="constrained")
        axes = figure.add_subplot()
        height = 0.8 / len(bars)
        # The last column is the one that is trained on, and has the first colour after the grey of what was.
        inks = [INKS[0], INKS[1]][-len(bars) :]
        for place, (heading, counts) in enumerate(bars.items()):
            offset = (place - (len(bars) - 1) / 2) * height
            axes.barh([row + offset for row in range(rows)], counts, height, color=inks[place], label=heading)
        named = rows <= NAMED
        axes.set_yticks(range(rows) if named else [], [literal(plain(n, 40)) for n in counted.classes] if named else [])
        axes.invert_yaxis()
        axes.set_xlabel("images")
        if len(bars) > 1:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=len(bars), fontsize=7)
        return [write_figure(figure, folder / f"{counted.stem}-class-balance.{kind}", kind) for kind in ("png", "svg")]
