"""Read data sets in their official layouts through torchvision, without decoding images before they are asked for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from robench import DataError, Examples, Resize, describe_image


class Part(NamedTuple):
    """Hold one official part of a data set.

    Attributes:
        images: files, or pixels (N, C, H, W) in memory or in an h5 file, as uint8.
        labels: one for each.
        classes: raw class names in label order; empty where the official files name none.
    """

    images: Sequence[Path] | Any
    labels: list[int]
    classes: list[str]

    def examples(self, rows: Sequence[int], how: Resize | None) -> Examples:
        """Serve these rows; files that are not resized must all have the size of the first."""
        labels = [self.labels[row] for row in rows]
        if isinstance(self.images, list):
            paths = [self.images[row] for row in rows]
            return Examples.from_files(paths, labels, how or Resize(describe_image(self.images[0]).width))
        if isinstance(self.images, H5Images):
            return self.images.examples(rows, labels).resized(how)
        stored: Any = self.images
        pixels = torch.from_numpy(stored[list(rows)])
        return Examples.from_tensors(pixels.contiguous(), torch.tensor(labels)).resized(how)


class H5Images:
    """Serve PatchCamelyon's images (N, H, W, 3) from their h5 file; a split of them takes 900 MB and more."""

    def __init__(self, path: Path) -> None:
        import h5py

        self.path = path
        with h5py.File(path) as file:
            self.shape: tuple[int, ...] = file["x"].shape

    def __len__(self) -> int:
        return self.shape[0]

    def examples(self, rows: Sequence[int], labels: Sequence[int]) -> Examples:
        """Serve these rows."""
        import hashlib

        import h5py

        _, height, width, channels = self.shape

        def fetch(places: Sequence[int]) -> Tensor:
            with h5py.File(self.path) as file:
                return torch.stack([torch.from_numpy(file["x"][rows[place]]).permute(2, 0, 1) for place in places])

        def digest(places: Sequence[int]) -> bytes:
            hasher = hashlib.sha256()
            for start in range(0, len(places), 1024):
                hasher.update(fetch(places[start : start + 1024]).contiguous().numpy().data)
            return hasher.digest()

        return Examples(torch.tensor(labels, dtype=torch.long), (channels, height, width), fetch, digest)


def read(official: str, root: Path, download: bool, options: dict[str, Any], way_out: str) -> Part:
    """Return one part of torchvision's data set ``official`` at ``root``.

    Args:
        official: the name of torchvision's class.
        root: the folder that holds the official one.
        download: fetch what is missing, where torchvision can.
        options: what torchvision's class is given to choose the part.
        way_out: what the user may do where the files are missing or damaged.
    """
    from torchvision import datasets

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            part = READERS.get(official, _by_path)(getattr(datasets, official), root, {**options, "download": download})
    except Exception as error:  # the readers of each format raise their own kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise DataError(f"{official} cannot be read from {root} ({reason}): {way_out}") from error
    known = len(part.classes) or max(part.labels, default=0) + 1
    odd = next((row for row, label in enumerate(part.labels) if not 0 <= label < known), None)
    if odd is not None:
        raise DataError(f"{official} in {root} gives image {odd} the class {part.labels[odd]} of {known}: {way_out}")
    if not part.labels or len(part.labels) != len(part.images):
        found = f"{len(part.images)} images and {len(part.labels)} labels"
        raise DataError(f"{official} in {root} holds {found}: {way_out}")
    return part


def _by_path(kind: Any, root: Path, options: dict[str, Any]) -> Part:
    """Read a set whose images are files: where the reader takes a loader, it is given one that leaves paths as such."""
    source = kind(root, loader=Path, **options)
    pairs = [source[row] for row in range(len(source))]
    return Part([path for path, _ in pairs], [int(label) for _, label in pairs], list(source.classes))


def _sun397(kind: Any, root: Path, options: dict[str, Any]) -> Part:
    """Read SUN397, whose files torchvision lists in the order of the file system, in byte order."""
    part = _by_path(kind, root, options)
    pairs = sorted(zip(part.images, part.labels, strict=True), key=lambda pair: str(pair[0]))
    return Part([path for path, _ in pairs], [label for _, label in pairs], part.classes)


def _pets(kind: Any, root: Path, options: dict[str, Any]) -> Part:
    source = kind(root, target_types="category", **options)
    return Part(list(source._images), list(source._labels), list(source.classes))


def _gtsrb(kind: Any, root: Path, options: dict[str, Any]) -> Part:
    samples = kind(root, **options)._samples
    return Part([Path(path) for path, _ in samples], [label for _, label in samples], [])


def _caltech(folder: str) -> Callable[[Any, Path, dict[str, Any]], Part]:
    def reader(kind: Any, root: Path, options: dict[str, Any]) -> Part:
        source = kind(root, **options)
        names = source.categories
        numbered = folder.startswith("256")
        number = {name: f"{name[:3]}_{{:04d}}.jpg" if numbered else "image_{:04d}.jpg" for name in names}
        labels = [int(label) for label in source.y]
        pairs = zip(labels, source.index, strict=True)
        paths = [Path(source.root) / folder / names[label] / number[names[label]].format(row) for label, row in pairs]
        return Part(paths, labels, list(names))

    return reader


def _in_memory(kind: Any, root: Path, options: dict[str, Any]) -> Part:
    source = kind(root, **options)
    return Part(source.data, source.labels.astype(int).tolist(), list(getattr(source, "classes", ())))


def _pcam(kind: Any, root: Path, options: dict[str, Any]) -> Part:
    try:
        import h5py
    except ImportError:
        raise DataError("it needs the package h5py; install it with pip install 'robench[h5]'") from None
    source = kind(root, **options)
    files = source._FILES[options["split"]]
    with h5py.File(source._base_folder / files["targets"][0]) as file:
        labels = file["y"][:, 0, 0, 0].astype(int).tolist()
    images = H5Images(source._base_folder / files["images"][0])
    return Part(images, labels, [])


READERS: dict[str, Callable[[Any, Path, dict[str, Any]], Part]] = {
    "Caltech101": _caltech("101_ObjectCategories"),
    "Caltech256": _caltech("256_ObjectCategories"),
    "GTSRB": _gtsrb,
    "OxfordIIITPet": _pets,
    "PCAM": _pcam,
    "STL10": _in_memory,
    "SUN397": _sun397,
    "SVHN": _in_memory,
}
