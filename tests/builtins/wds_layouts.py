"""Small sets in CLIP_benchmark's layout of tar shards."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from .torchvision_layouts import pixels

NAMES = ("cat", "red fox")
TEMPLATES = ("a photo of a {c}.", "a blurry photo of a {c}.")


def member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a regular file."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def picture(seed: int, size: tuple[int, int] = (30, 20)) -> bytes:
    """Return the PNG of a seed."""
    stored = io.BytesIO()
    Image.fromarray(pixels(seed, size[1], size[0])).save(stored, format="PNG")
    return stored.getvalue()


def wds(
    folder: Path,
    test: Sequence[tuple[bytes, int]] | None = None,
    train: Sequence[tuple[bytes, int]] | None = None,
    names: Sequence[str] = NAMES,
    templates: Sequence[str] = TEMPLATES,
    shards: int = 2,
) -> Path:
    """Write a set; each part is dealt into ``shards`` tar files of samples such as ``s0000003.png, s0000003.cls``."""
    parts = {
        "test": [(picture(100 + row), row % 2) for row in range(8)] if test is None else test,
        "train": [(picture(row), row % 2) for row in range(20)] if train is None else train,
    }
    for part, samples in parts.items():
        place = folder / part
        place.mkdir(parents=True)
        (place / "nshards.txt").write_text(f"{shards}\n")
        step = -(-len(samples) // shards)
        for number in range(shards):
            with tarfile.open(place / f"{number}.tar", "w") as tar:
                for row, (content, label) in enumerate(samples[number * step : (number + 1) * step], number * step):
                    member(tar, f"s{row:07d}.cls", str(label).encode())
                    member(tar, f"s{row:07d}.png", content)
    (folder / "classnames.txt").write_text("\n".join(names) + "\n")
    (folder / "zeroshot_classification_templates.txt").write_text("\n".join(templates) + "\n")
    return folder
