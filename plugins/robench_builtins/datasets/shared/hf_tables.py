"""Read image-classification sets through Hugging Face's ``datasets``; imported only where data is wanted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets

from robench import DataError, Examples, Resize, Split
from robench_builtins.datasets.shared.folder_walk import existing_folder, hidden, is_folder
from robench_builtins.datasets.shared.hf_images import Images, is_grey
from robench_builtins.datasets.shared.hf_labels import class_names, numbered, values_of
from robench_builtins.datasets.shared.stratified_splits import share_of
from robench_builtins.offline import offline

USUAL = {"train": ("train",), "val": ("validation", "val", "valid", "dev"), "test": ("test",)}
LABELS = ("label", "labels", "class", "target")


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
    resize: Resize | None
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
        return class_names(self._declared or self._values, self.label_column, self.request.path)

    @property
    def _declared(self) -> list[str]:
        return getattr(self._features[self.label_column], "names", None) or []

    @cached_property
    def _values(self) -> list[Any]:
        """Return the values of a label column that declares no names, sorted."""
        columns = [table[self.label_column] for table in self.tables.values()]
        return values_of(columns, self.label_column, self.request.path)

    @cached_property
    def _grey(self) -> bool:
        """Tell whether images are served in grey: one answer for the whole set, whatever split is loaded."""
        columns = [self._images(name) for name in self.tables]
        return is_grey(self._features[self.image_column].mode, columns)

    @cached_property
    def _shape(self) -> tuple[int, int, int]:
        """Return the shape of every image: the size asked for, or that of the set's first image."""
        channels, how = 1 if self._grey else 3, self.request.resize
        if how:
            return channels, how.size, how.size
        first = self._images(next(iter(self.tables))).describe(0)
        return channels, first.height, first.width

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
        where = f"split '{name}' of {self.request.path}"
        labels = numbered(table[self.label_column], self._declared, self._values, where)
        rows = list(range(len(table)))
        if split not in whole:
            test, val = (0.0 if part in whole else share for part, share in self._shares.items())
            rows = share_of(labels, split, test, val, self.request.split_seed)
        if not rows:
            raise DataError(
                f"hf leaves no {split} images of {self.request.path} with test={self.request.test:g} and "
                f"val={self.request.val:g}; choose other shares, such as -p dataset.test=0.2 -p dataset.val=0.1."
            )
        return self._images(name).examples(rows, [labels[row] for row in rows], self._shape, self.request.resize)

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

    def _images(self, split: str) -> Images:
        table = self.tables[split].cast_column(self.image_column, datasets.Image(decode=False))
        return Images(table.select_columns([self.image_column]), self.image_column, self.request.path, split)

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
    local = is_folder(request.path)
    if local:
        _refuse_irregular(existing_folder("hf", request.path))
    try:
        with _quiet():
            if any(os.path.isfile(folder / name) for name in ("dataset_dict.json", "state.json")):
                opened = datasets.load_from_disk(str(folder))
            else:
                opened = datasets.load_dataset(
                    str(folder) if local else request.path,
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


def _refuse_irregular(folder: Path) -> None:
    """Raise DataError for what the library would wait on for ever, were it to read it."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not hidden(name)]
        for name in files:
            path = os.path.join(place, name)
            if not hidden(name) and os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
                raise DataError(f"hf found {path}, which is no regular file; remove it.")
