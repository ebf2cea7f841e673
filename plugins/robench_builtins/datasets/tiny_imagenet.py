"""Tiny ImageNet as Stanford hands it out."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from robench import DataError, parameter
from robench_builtins.datasets.imagenet import WNID, read_names
from robench_builtins.datasets.shared.manual_download import ManualDownload
from robench_builtins.datasets.shared.official_splits import data_folder
from robench_builtins.datasets.shared.stratified_splits import share_of

if TYPE_CHECKING:
    from robench import Examples, Split

BASE = "tiny-imagenet-200"
HOME = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
ANNOTATIONS = "val_annotations.txt"
#: Most bytes of a list; words.txt has 2.6 million.
MOST_BYTES = 20_000_000


class TinyImageNet(ManualDownload):
    """Serve Tiny ImageNet: 100,000 train and 10,000 test photos of 200 classes at 64 x 64; val is cut from train.

    Read is the layout of the zip: ``wnids.txt``, ``words.txt``, ``train/WNID/images/`` and ``val/images/`` with
    ``val/val_annotations.txt``, or ``val/WNID/`` where that was sorted. Its ``val`` is the test split, since the labels
    of its ``test`` are secret. Classes are numbered in the order of their sorted wnids, as ImageFolder numbers them,
    and named by the first word of ``words.txt``.
    """

    name = "tiny-imagenet"
    victim = "clip-vit-b32"
    source = (
        "Stanford CS231n; images of Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge (IJCV 2015)."
    )
    licence = "research only, under the terms of image-net.org"
    templates = ("a photo of a {}.",)
    base = BASE

    path: str = parameter(
        default="",
        help=f"{BASE}, or the folder that holds it; empty: $ROBENCH_DATA, or robench's cache of the user",
        path=True,
    )
    val: float = parameter(default=0.1, help="share of each class of train for val", minimum=0, maximum=1)
    split_seed: int = parameter(default=0, help="seed that cuts val from train", minimum=0)

    def classes(self) -> tuple[str, ...]:
        """Return the class names in the order of the sorted wnids, spelt as ``spelling`` says."""
        words = self.root / "words.txt"
        _lines(words)
        known = read_names(words, self._wnids)
        unnamed = next((wnid for wnid in self._wnids if wnid not in known), None)
        if unnamed is not None:
            raise DataError(f"tiny-imagenet: {words} does not name {unnamed}; unpack {HOME} again.")
        return self.spelt(known[wnid] for wnid in self._wnids)

    def load(self, split: Split) -> Examples:
        """Return one split, decoded on demand."""
        pairs = self._val if split == "test" else self._train
        if split != "test":
            rows = share_of([label for _, label in pairs], split, 0.0, self.val, self.split_seed)
            pairs = [pairs[row] for row in rows]
        if not pairs:
            raise DataError(f"tiny-imagenet leaves no {split} images with val={self.val:g}; give val=0.1.")
        return self.served([path for path, _ in pairs], [label for _, label in pairs])

    def is_copy(self, place: Path) -> bool:
        """Tell whether a folder holds the list of classes."""
        return (place / "wnids.txt").is_file()

    @property
    def needs(self) -> str:
        """Say what to download, and where to put it."""
        place = data_folder(self.path) / BASE
        return (
            f"tiny-imagenet (240 MB) has to be downloaded by hand: unpack {HOME} so that {place / 'wnids.txt'} is "
            "there, or pass -p tiny-imagenet.path=DIR."
        )

    @cached_property
    def _wnids(self) -> list[str]:
        listed = _lines(self.root / "wnids.txt")
        odd = next((line for line in listed if not WNID.fullmatch(line)), None)
        if odd is not None or len(set(listed)) != len(listed) or len(listed) < 2:
            what = f"holds '{odd[:40]}', which is no wnid" if odd is not None else "does not list each class once"
            raise DataError(f"tiny-imagenet: {self.root / 'wnids.txt'} {what}; unpack {HOME} again.")
        return sorted(listed)

    @cached_property
    def _train(self) -> list[tuple[Path, int]]:
        return self._by_folder(self.root / "train")

    @cached_property
    def _val(self) -> list[tuple[Path, int]]:
        """Return the images that val_annotations.txt names, or those of sorted folders."""
        place = self.root / "val"
        annotations = place / ANNOTATIONS
        if not annotations.is_file():
            return self._by_folder(place)
        labels = {wnid: label for label, wnid in enumerate(self._wnids)}
        found: dict[Path, int] = {}
        for line in _lines(annotations):
            name, wnid = [*line.split("\t"), ""][:2]
            if wnid not in labels or Path(name).name != name or "\\" in name or name.startswith("."):
                raise DataError(f"tiny-imagenet: {annotations} holds '{line[:80]}', which is no image of a class.")
            found[place / "images" / name] = labels[wnid]
        return list(found.items())

    def _by_folder(self, place: Path) -> list[tuple[Path, int]]:
        """Return the images in one folder a wnid."""
        from robench_builtins.datasets.shared.folder_walk import existing_folder, walk_classes

        known = set(self._wnids)
        images = walk_classes(existing_folder(self.name, str(place)), known.__contains__).images
        absent = next((wnid for wnid in self._wnids if not images.get(wnid)), None)
        if absent is not None:
            raise DataError(f"tiny-imagenet: {place / absent} has no images; unpack {HOME} again.")
        return [(path, label) for label, wnid in enumerate(self._wnids) for path in images[wnid]]


def _lines(path: Path) -> list[str]:
    """Return the lines of a list that are not empty; DataError if it cannot be read."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise ValueError(f"no file of at most {MOST_BYTES:,} bytes")
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"tiny-imagenet cannot read {path} ({str(error)[:200]}); unpack {HOME} again.") from None
