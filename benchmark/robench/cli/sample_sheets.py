"""Pictures of a dataset for a report: one sample of each class, and five that are drawn."""

from __future__ import annotations

import io
import math
from pathlib import Path

import torch

from robench.cli.class_balance import Counted
from robench.cli.contact_sheet import ACROSS, Caption, sheet, tile
from robench.contracts.examples import Examples
from robench.evidence.files import write_whole

#: Classes on the sheet of one sample each; of more, those at the beginning.
MOST = 100
#: Samples that are drawn.
DRAWN = 5


def write_sheets(counted: Counted, seed: int, folder: Path) -> list[Path]:
    """Write ``one-of-each.png`` and ``random.png``; return the files."""
    split, examples = counted.shown
    of_each = firsts(examples, len(counted.classes))[:MOST]
    few = f", {len(of_each)} of {len(counted.classes)} classes" if len(counted.classes) > len(of_each) else ""
    drawn = draw(len(examples), seed)
    return [
        _write(counted, of_each, f"{counted.label}: one {split} image a class{few}", folder / "one-of-each.png"),
        _write(counted, drawn, f"{counted.label}: {len(drawn)} random {split} images", folder / "random.png"),
    ]


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
