"""Images of a data set's table, decoded on demand by the rule for files; imported only where data is wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robench import DataError, Examples, Resize, StoredImage, decode_image, describe_image

#: Threads that decode.
DECODERS = 4

#: Images of each split that are looked at, evenly spaced, to learn whether a set is grey.
LOOKED_AT = 256

#: Modes that a column of images may declare and that have no colour.
GREY = frozenset({"1", "L", "LA", "I", "F", "I;16"})


@dataclass(frozen=True)
class Images:
    """Hold the images of one split, undecoded.

    Attributes:
        table: a table with one column, of ``datasets.Image(decode=False)``.
        column: its name.
        path: the data set's.
        split: the split's name there.
    """

    table: Any
    column: str
    path: str
    split: str

    def content(self, row: int) -> bytes:
        """Return the bytes of one image."""
        return self._bytes(self.table[row][self.column], row)

    def describe(self, row: int) -> StoredImage:
        """Return how one image is stored."""
        return describe_image(self.content(row), self.named(row))

    def named(self, row: int) -> str:
        """Return what a sentence calls a row."""
        return f"row {row} of {self.path} ({self.split})"

    def examples(self, rows: list[int], labels: list[int], shape: tuple[int, int, int], how: Resize | None) -> Examples:
        """Serve these rows with these labels; all must have the shape, or are brought to it."""
        channels, height, width = shape
        way = "" if how is None or how == Resize(how.size) else f" {how}"

        def decode(row: int, stored: Any) -> Tensor:
            image = decode_image(self._bytes(stored, row), self.named(row), grey=channels == 1, size=how)
            if image.shape[1:] != (height, width):
                raise DataError(
                    f"{self.path} holds images of several sizes ({width} x {height}, and {image.shape[2]} x "
                    f"{image.shape[1]} in row {row} of {self.split}); pass -p dataset.size=224."
                )
            return image

        def fetch(places: Sequence[int]) -> Tensor:
            chosen = [rows[place] for place in places]
            with ThreadPoolExecutor(DECODERS) as pool:
                return torch.stack(list(pool.map(decode, chosen, self.table[chosen][self.column])))

        def digest(places: Sequence[int]) -> bytes:
            hasher = hashlib.sha256(f"{shape} upright on white{way}".encode())
            for place in places:
                hasher.update(hashlib.sha256(self.content(rows[place])).digest())
            return hasher.digest()

        def describe(place: int) -> StoredImage:
            return self.describe(rows[place])

        return Examples(torch.tensor(labels, dtype=torch.long), shape, fetch, digest, describe=describe)

    def _bytes(self, stored: Any, row: int) -> bytes:
        """Return what a cell of the table holds, or the file that it names."""
        if stored is None or (stored["bytes"] is None and not stored["path"]):
            raise DataError(f"{self.named(row)} holds no image; leave that row out.")
        found: bytes | None = stored["bytes"]
        if found is not None:
            return found
        path = Path(stored["path"])
        if not path.is_file():
            raise DataError(f"{self.named(row)} names {path}, which is no file here; bring it, or leave that row out.")
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"{self.named(row)} names {path}, which cannot be read ({error.strerror}).") from None


def is_grey(declared: str | None, splits: Sequence[Images]) -> bool:
    """Tell whether a set is grey: its column says so, or else none of the images looked at in any split has colour.

    An image in colour that was not looked at is refused when it is decoded, never served in grey.
    """
    if declared:
        return declared in GREY
    seen = [found.grey for images in splits for found in _looked_at(images)]
    return bool(seen) and all(seen)


def _looked_at(images: Images) -> list[StoredImage]:
    found = []
    for row in range(0, len(images.table), max(1, len(images.table) // LOOKED_AT)):
        try:
            found.append(images.describe(row))
        except DataError:  # told when it is served; another split may be all that is asked for
            continue
    return found
