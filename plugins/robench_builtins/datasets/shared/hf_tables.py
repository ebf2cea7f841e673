"""Read image-classification sets through Hugging Face's ``datasets``; imported only where data is wanted."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import torch
from PIL import Image, ImageOps
from torch import Tensor

from robench import DataError, Examples, Split, to_uint8
from robench_builtins.datasets.shared.stratified_splits import share_of
from robench_builtins.offline import offline

USUAL = {"train": ("train",), "val": ("validation", "val", "valid", "dev"), "test": ("test",)}
LABELS = ("label", "labels", "class", "target")
GREY = frozenset({"1", "L", "I", "I;16"})
DECODERS = 4


@dataclass(frozen=True)
class HfRequest:
    """Say which data set, which of its columns and splits, and how large its images; the fields are hf's parameters."""

    path: str
    config: str
    revision: str
    image_column: str
    label_column: str
    train_split: str
    val_split: str
    test_split: str
    size: int | None
    val: float
    test: float
    split_seed: int


class HfTables:
    """Hold one data set: its tables by split, its columns and its classes."""

    def __init__(self, request: HfRequest) -> None:
        self.request = request
        self.tables = _open(request)
        self.image_column = self._image_column()
        self.label_column = self._label_column()

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in label order."""
        names = getattr(self._features[self.label_column], "names", None) or self._values
        return tuple(" ".join(str(name).replace("_", " ").split()) for name in names)

    @cached_property
    def _values(self) -> list[Any]:
        """Return the values of a label column that declares no names, sorted."""
        found = {value for table in self.tables.values() for value in table[self.label_column]}
        return sorted(found)

    @property
    def _features(self) -> Any:
        return next(iter(self.tables.values())).features

    def examples(self, split: Split) -> Examples:
        """Return one of robench's splits."""
        whole, source = self._layout()
        name = whole.get(split, source)
        if not name:
            raise DataError(
                f"{self.request.path} has no split to cut {split} from (it has {', '.join(self.tables)}); name one "
                "with -p dataset.train_split=NAME."
            )
        table = self.tables[name]
        labels = self._labels(table, name)
        rows = list(range(len(table)))
        if split not in whole:
            test, val = (0.0 if part in whole else share for part, share in self._shares.items())
            rows = share_of(labels, split, test, val, self.request.split_seed)
        if not rows:
            raise DataError(
                f"hf leaves no {split} images of {self.request.path} with test={self.request.test:g} and "
                f"val={self.request.val:g}; choose other shares, such as -p dataset.test=0.2 -p dataset.val=0.1."
            )
        return self._serve(table, rows, [labels[row] for row in rows])

    @property
    def _shares(self) -> dict[str, float]:
        return {"test": self.request.test, "val": self.request.val}

    def _layout(self) -> tuple[dict[str, str], str]:
        """Return the data set's name of each split that is taken whole, and of the one that the others are cut from."""
        given = {"train": self.request.train_split, "val": self.request.val_split, "test": self.request.test_split}
        found = {}
        for split, name in given.items():
            if name and name not in self.tables:
                raise DataError(
                    f"{self.request.path} has no split '{name}'; it has {', '.join(self.tables)}: choose one of these "
                    f"with -p dataset.{split}_split=NAME."
                )
            chosen = name or next((usual for usual in USUAL[split] if usual in self.tables), "")
            if chosen:
                found[split] = chosen
        if "test" not in found and "val" in found and not self.request.val_split:
            found["test"] = found.pop("val")  # as in ImageNet, whose test labels are secret
        if not found:
            return {}, next(iter(self.tables))
        source = found.get("train", "")
        if not {"val", "test"} <= set(found):
            found.pop("train", None)  # what is cut from it leaves less of it
        return found, source

    def _labels(self, table: Any, split: str) -> list[int]:
        column = table[self.label_column]
        if getattr(self._features[self.label_column], "names", None):
            labels = [int(label) if label is not None else -1 for label in column]
        else:
            places = {value: place for place, value in enumerate(self._values)}
            labels = [places[value] for value in column]
        if labels and min(labels) < 0:
            raise DataError(
                f"split '{split}' of {self.request.path} holds images without a label; choose another split with "
                "-p dataset.test_split=NAME."
            )
        return labels

    def _serve(self, table: Any, rows: list[int], labels: list[int]) -> Examples:
        column = table.cast_column(self.image_column, datasets.Image(decode=False)).select_columns([self.image_column])
        first = _opened(column[rows[0]][self.image_column], self.request.path, rows[0])
        mode = "L" if first.mode in GREY else "RGB"
        side = self.request.size
        width, height = (side, side) if side else first.size

        def decode(row: int, stored: Any) -> Tensor:
            picture = _opened(stored, self.request.path, row).convert(mode)
            if side:
                picture = ImageOps.fit(picture, (side, side), Image.Resampling.BICUBIC)
            elif picture.size != (width, height):
                raise DataError(
                    f"{self.request.path} holds images of several sizes ({width} x {height}, and {picture.size[0]} x "
                    f"{picture.size[1]} in row {row}); pass -p dataset.size=224."
                )
            return to_uint8(picture)

        def fetch(places: Sequence[int]) -> Tensor:
            chosen = [rows[place] for place in places]
            with ThreadPoolExecutor(DECODERS) as pool:
                return torch.stack(list(pool.map(decode, chosen, column[chosen][self.image_column])))

        def digest(places: Sequence[int]) -> bytes:
            hasher = hashlib.sha256(f"{mode} {width} {height}".encode())
            for place in places:
                hasher.update(hashlib.sha256(_bytes(column[rows[place]][self.image_column])).digest())
            return hasher.digest()

        shape = (1 if mode == "L" else 3, height, width)
        return Examples(torch.tensor(labels, dtype=torch.long), shape, fetch, digest)

    def _image_column(self) -> str:
        found = [name for name, kind in self._features.items() if isinstance(kind, datasets.Image)]
        return self._column("image", self.request.image_column, found)

    def _label_column(self) -> str:
        declared = [name for name, kind in self._features.items() if isinstance(kind, datasets.ClassLabel)]
        usual = [name for name in LABELS if name in self._features]
        return self._column("label", self.request.label_column, declared or usual)

    def _column(self, what: str, given: str, found: list[str]) -> str:
        if given in self._features:
            return given
        if not given and len(found) == 1:
            return found[0]
        several = f"{len(found)} {what} columns ({', '.join(found)})" if found else f"no {what} column"
        why = f"no column '{given}'" if given else several
        raise DataError(
            f"{self.request.path} has {why}; its columns are {', '.join(self._features)}: name one with "
            f"-p dataset.{what}_column=NAME."
        )


def _open(request: HfRequest) -> dict[str, Any]:
    """Return the tables of a data set by split."""
    folder = Path(request.path).expanduser()
    try:
        with _quiet():
            if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
                opened = datasets.load_from_disk(str(folder))
            else:
                opened = datasets.load_dataset(
                    str(folder) if folder.is_dir() else request.path,
                    request.config or None,
                    revision=request.revision or None,
                    download_config=datasets.DownloadConfig(local_files_only=offline()),
                )
    except Exception as error:  # datasets, the hub and the file readers each raise their own kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise DataError(
            f"hf cannot load '{request.path}' ({reason}); give an id on the hub while connected to it, or a local "
            "folder of parquet, arrow or image files. Sets that need code of their own cannot be loaded."
        ) from error
    return dict(opened) if isinstance(opened, datasets.DatasetDict) else {"train": opened}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's bars off the screen; robench shows its own."""
    shown = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not shown:
            datasets.enable_progress_bars()


def _bytes(stored: Any) -> bytes:
    found: bytes | None = stored["bytes"]
    return found if found is not None else Path(stored["path"]).read_bytes()


def _opened(stored: Any, path: str, row: int) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(_bytes(stored)))
        picture.load()
    except (OSError, TypeError, Image.DecompressionBombError) as error:
        raise DataError(
            f"row {row} of {path} holds no image that can be decoded ({error}); leave that row out."
        ) from error
    return picture
