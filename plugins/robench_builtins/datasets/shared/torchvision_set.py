"""Data sets in the layout that torchvision downloads or expects; one class of torchvision's a component."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from robench import DataError, parameter
from robench_builtins.datasets.shared.official_splits import data_folder
from robench_builtins.datasets.shared.resizable_set import NamedSet
from robench_builtins.datasets.shared.stratified_splits import share_of
from robench_builtins.offline import offline

if TYPE_CHECKING:
    from robench import Examples, Split
    from robench_builtins.datasets.shared.torchvision_readers import Part


#: CLIP's prompts for sets of things.
PHOTO = ("a photo of a {}.", "a photo of the {}.")


class TorchvisionSet(NamedSet):
    """Serve a data set that torchvision reads; the official parts are taken as they are, what is missing is cut.

    Val, where there is none, is a share of train, cut per class and seeded.
    """

    victim: ClassVar[str] = "clip-vit-b32"
    #: torchvision's class, the folder it keeps its files in, what a download takes, and where it comes from.
    official: ClassVar[str] = ""
    base: ClassVar[str] = ""
    download_size: ClassVar[str] = ""
    home: ClassVar[str] = ""
    #: False if torchvision can fetch it no longer.
    fetched: ClassVar[bool] = True
    #: Split -> what torchvision's class is given for it; empty: the set has one part.
    parts: ClassVar[Mapping[str, Mapping[str, Any]]] = {"train": {"split": "train"}, "test": {"split": "test"}}
    #: Class names in label order, for those that the files do not have, or have as labels rather than words.
    listed: ClassVar[tuple[str, ...]] = ()

    path: str = parameter(
        default="",
        help="folder of the set's own folder; empty: $ROBENCH_DATA, or robench's cache of the user",
        path=True,
    )
    size: int | None = parameter(
        default=224, help="side in pixels at which images are attacked, to which they are resized", minimum=8
    )
    val: float = parameter(
        default=0.1, help="share of each class for val, where the set has no such part", minimum=0, maximum=1
    )
    split_seed: int = parameter(default=0, help="seed that cuts the splits", minimum=0)

    def classes(self) -> tuple[str, ...]:
        """Return the class names in label order, spelt as ``spelling`` says."""
        found = self._part(next(iter(self.parts.values()), {})).classes if self._read_names else []
        raw = tuple(found) or self.listed
        return self.spelt(self.words(raw) if self.spelling == "words" else raw)

    @property
    def _read_names(self) -> bool:
        return not self.listed or self.spelling != "words"

    def words(self, raw: tuple[str, ...]) -> tuple[str, ...]:
        """Return the class names for prompts, of which underscores still become spaces."""
        return self.listed or raw

    def files(self) -> tuple[Path, ...]:
        """Return the local copy that the user named."""
        place = data_folder(self.path) / self.base
        return (place,) if self.path and place.exists() else ()

    def missing(self) -> tuple[str, ...]:
        """Return what to download, unless the set's folder is there."""
        place = data_folder(self.path) / self.base
        if place.exists():
            return ()
        return (f"{self.name} ({self.download_size}): to {self._place}; {self._way_out}",)

    def load(self, split: Split) -> Examples:
        """Return one split, decoded on demand."""
        if split in self.parts:
            part = self._part(self.parts[split])
            rows = list(range(len(part.labels)))
            if split == "train" and "val" not in self.parts:
                rows = share_of(part.labels, "train", 0.0, self.val, self.split_seed)
        else:
            part = self._part(self.parts.get("train", {}))
            rows = share_of(part.labels, split, self.test_share, self.val, self.split_seed)
        if not rows:
            raise DataError(self._nothing(split))
        return part.examples(rows, self.resizing)

    @property
    def test_share(self) -> float:
        """Return the share of each class that is for test, where the set has one part."""
        return 0.0

    @property
    def _place(self) -> Path:
        """Return the folder of the set's files."""
        place = data_folder(self.path) / self.base
        return place.parent if place.suffix == ".mat" else place

    @property
    def _way_out(self) -> str:
        how = "without a network, " if self.fetched else "torchvision can fetch it no longer: "
        return (
            f"{how}put the files of {self.home} into {self._place}, as torchvision's "
            f"{self.official} expects them, or pass -p {self.name}.path=DIR."
        )

    def _nothing(self, split: Split) -> str:
        given = f"val={self.val:g}" + (f" and test={self.test_share:g}" if not self.parts else "")
        return (
            f"{self.name} leaves no {split} images with {given}; choose other shares, such as -p {self.name}.val=0.1."
        )

    def _part(self, options: Mapping[str, Any]) -> Part:
        root = data_folder(self.path)
        if not (root / self.base).exists() and (offline() or not self.fetched):
            why = ", and the run is offline" if offline() else ""
            raise DataError(f"{self.name} needs {root / self.base}, which is not there{why}: {self._way_out}")
        return _read(self.official, root, self.fetched and not offline(), tuple(options.items()), self._way_out)


@lru_cache(maxsize=4)
def _read(official: str, root: Path, download: bool, options: tuple[tuple[str, Any], ...], way_out: str) -> Part:
    """Return one official part, listed once a process."""
    from robench_builtins.datasets.shared.torchvision_readers import read

    return read(official, root, download, dict(options), way_out)


class WholeSet(TorchvisionSet):
    """Serve a set without official parts: by default all of it is for test, as zero-shot protocols take it."""

    parts: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    test: float = parameter(
        default=1.0, help="share of each class for test; below 1 leaves some to train on", minimum=0, maximum=1
    )

    @property
    def test_share(self) -> float:
        """Return the share of each class that is for test."""
        return self.test
