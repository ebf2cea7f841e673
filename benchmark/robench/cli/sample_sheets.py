"""Pictures of a dataset for a report: one sample of each class, five that are drawn, and copies beside their images."""

from __future__ import annotations

import io
import math
from pathlib import Path

import torch
from PIL import Image

from robench.cli.class_balance import BEFORE, Counted
from robench.cli.contact_sheet import ACROSS, PAPER, Caption, sheet, tile
from robench.contracts.examples import Examples
from robench.evidence.files import write_whole

#: Classes on the sheet of one sample each; of more, those at the beginning.
MOST = 100
#: Samples that are drawn.
DRAWN = 5
#: Classes on the sheet of copies, and copies of one image.
CLASSES, COPIES = 6, 5


def write_sheets(counted: Counted, seed: int, folder: Path) -> list[Path]:
    """Write one sample a class, random ones and, where classes were filled up, copies as PNG files; return them.

    Their names begin with the dataset's, and the seed of what is drawn is in its name, so that none replaces another's.
    """
    split, examples = counted.shown
    stem = f"{folder / counted.stem}"
    of_each = firsts(examples, len(counted.classes))[:MOST]
    few = f", {len(of_each)} of {len(counted.classes)} classes" if len(counted.classes) > len(of_each) else ""
    drawn = draw(len(examples), seed)
    sheets = {
        "one-of-each": (of_each, f"one {split} image a class{few}"),
        f"random-seed{seed}": (drawn, f"{len(drawn)} random {split} images"),
    }
    found = [
        _write(counted, rows, f"{counted.label}: {what}", Path(f"{stem}-{name}.png"))
        for name, (rows, what) in sheets.items()
    ]
    series = copies(counted)
    return [*found, _write_copies(counted, series, Path(f"{stem}-copies.png"))] if series else found


def copies(counted: Counted) -> list[list[int]]:
    """Return the positions of an image and its first copies, for each of the first classes that were filled up."""
    before = counted.columns.get(BEFORE)
    if before is None:
        return []
    labels = counted.splits["train"].labels.tolist()
    found = []
    for label, own in enumerate(before):
        places = [place for place, other in enumerate(labels) if other == label]
        if 0 < own < len(places):
            found.append(places[::own][: 1 + COPIES])
    return found[:CLASSES]


def _write_copies(counted: Counted, series: list[list[int]], path: Path) -> Path:
    """Write a row for each image; one with fewer copies than others leaves the rest of its row empty."""
    examples = counted.splits["train"]
    across = max(map(len, series))
    tiles = []
    for places in series:
        batch = next(examples[places].batches(len(places)))
        label = int(batch.labels[0])
        for place, image in enumerate(batch.images):
            tiles.append(tile([image], [Caption(f"copy {place}" if place else f"{label} {counted.classes[label]}")]))
        tiles += [Image.new("RGB", tiles[-1].size, PAPER)] * (across - len(places))
    content = io.BytesIO()
    sheet(tiles, f"{counted.label}: a train image of each class, and copies of it", across).save(content, "PNG")
    write_whole(path, content.getvalue())
    return path


def firsts(examples: Examples, classes: int) -> list[int]:
    """Return the position of the first image of each class that has one, in label order."""
    labels = examples.labels.tolist()
    found = {label: place for place, label in reversed(list(enumerate(labels)))}
    return [found[label] for label in range(classes) if label in found]


def draw(images: int, seed: int) -> list[int]:
    """Return ``DRAWN`` positions, or all if there are fewer, drawn from ``seed`` without replacement."""
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    return [int(place) for place in order[:DRAWN]]


def _write(counted: Counted, rows: list[int], title: str, path: Path) -> Path:
    _, examples = counted.shown
    batch = next(examples[rows].batches(len(rows)))
    labels = batch.labels.tolist()
    captions = [[Caption(f"{label} {counted.classes[label]}")] for label in labels]
    tiles = [tile([image], words) for image, words in zip(batch.images, captions, strict=True)]
    content = io.BytesIO()
    sheet(tiles, title, max(ACROSS, math.isqrt(len(tiles)))).save(content, "PNG")
    write_whole(path, content.getvalue())
    return path
