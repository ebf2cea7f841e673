"""Small copies of sets as CoOp's DATASETS.md lays them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from robench_builtins.datasets.shared.coop_splits import LAYOUTS

from .torchvision_layouts import put

#: Images of each of two classes by part.
COUNTS = {"train": 20, "val": 6, "test": 3}
NAMES = ("polka_dotted", "banded")


def entries(part: str) -> list[list[Any]]:
    """Return the entries of one part: class 1 comes first, as CoOp's files do not go by label."""
    return [
        [f"{NAMES[label]}/{part}_{row}.jpg", label, NAMES[label]] for label in (1, 0) for row in range(COUNTS[part])
    ]


def coop(root: Path, name: str, images: Path | None = None) -> Path:
    """Write a set below ``root``, its images elsewhere if so said, and return the file of its splits."""
    layout = LAYOUTS[name]
    place = images or root / layout.folder / layout.images
    for part_number, part in enumerate(COUNTS):
        for number, (path, _, _) in enumerate(entries(part)):
            put(place / path, 1000 * part_number + number, (12, 10))
    split = (root if images else root / layout.folder) / layout.split
    split.parent.mkdir(parents=True, exist_ok=True)
    split.write_text(json.dumps({part: entries(part) for part in COUNTS}))
    return split
