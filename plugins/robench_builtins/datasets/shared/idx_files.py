"""Read images and labels in MNIST's idx layout, or from one .npz file; imported only where data is wanted."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robench import DataError
from robench_builtins.datasets.shared.official_splits import data_folder
from robench_builtins.offline import offline

#: Images and labels of the official train and test parts.
PARTS = {
    True: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    False: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
UNSIGNED_BYTES = 8

Bytes = NDArray[np.uint8]


def read(name: str, source: Any, path: str, installed: Sequence[str], train: bool) -> tuple[Bytes, Bytes]:
    """Return images (N, 28, 28) and labels (N,) of the official train or test part.

    Args:
        name: the data set's, for the user.
        source: torchvision's class of the set, which knows its layout and downloads it.
        path: what the user named: a folder or an .npz file; empty for the usual places and, online, a download.
        installed: folders in which distributions install the set.
        train: the train part, else the test part.
    """
    folder = data_folder(path)
    if folder.suffix == ".npz":
        return _read_npz(name, folder, train)
    pair = _pair(folder, source.__name__, train)
    for place in installed if not path else ():
        pair = pair or _pair(Path(place), source.__name__, train)
    if pair is None:
        _download(name, source, folder)
        pair = _pair(folder, source.__name__, train)
    if pair is None:
        raise DataError(f"{name} was downloaded to {folder}, but its files are not there; empty the folder and retry.")
    return _checked(name, folder, *(_read_idx(name, file) for file in pair))


def found(folder: Path, official: str, installed: Sequence[str]) -> bool:
    """Tell whether the train and the test part are in ``folder``, or where distributions install them."""
    places = (folder, *map(Path, installed))
    return all(any(_pair(place, official, train) for place in places) for train in PARTS)


def local_files(path: Path, official: str) -> tuple[Path, ...]:
    """Return the files of a local copy, as far as there are any."""
    if path.suffix == ".npz":
        return (path,)
    pairs = [_pair(path, official, train) for train in PARTS]
    return tuple(file for pair in pairs for file in pair or ())


def _pair(folder: Path, official: str, train: bool) -> tuple[Path, Path] | None:
    """Return the files of images and labels, if both are below ``folder`` where torchvision or others put them."""
    found = []
    for part in PARTS[train]:
        places = (folder, folder / "raw", folder / official / "raw")
        candidates = [place / f"{part}{suffix}" for place in places for suffix in ("", ".gz")]
        found += [path for path in candidates if path.is_file()][:1]
    return (found[0], found[1]) if len(found) == 2 else None


def _download(name: str, source: Any, folder: Path) -> None:
    """Let torchvision fetch the files, which it checks against their MD5, or say how to get them."""
    raw = folder / source.__name__ / "raw"
    names = ", ".join(file for file, _ in source.resources)
    help_ = f"download {names} from {source.mirrors[0]} into {raw}; or name their folder with -p dataset.path=DIR."
    if offline():
        raise DataError(f"{name} is not in {folder} and the run is offline: {help_}")
    try:
        source(folder, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{name} could not be downloaded ({error}): {help_}") from error


def _read_idx(name: str, path: Path) -> Bytes:
    """Return the array of an idx file: two zero bytes, the type, the dimensions (big-endian), the values."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name} cannot read {path} ({error}); download it again.") from error
    start = 4 + 4 * content[3] if len(content) > 3 else 4
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    values = np.frombuffer(content[start:], np.uint8)
    if content[:3] != bytes([0, 0, UNSIGNED_BYTES]) or len(content) < start or values.size != np.prod(shape):
        raise DataError(f"{name} found no whole idx file of bytes at {path}; download it again.")
    return values.reshape(shape).copy()


def _read_npz(name: str, path: Path, train: bool) -> tuple[Bytes, Bytes]:
    part = "train" if train else "test"
    try:
        if not path.is_file():
            raise FileNotFoundError
        with np.load(path, allow_pickle=False) as file:
            images, labels = file[f"x_{part}"], file[f"y_{part}"]
    except Exception as error:  # TypeError for one bare array; damaged, whatever zlib and zipfile raise
        raise DataError(
            f"{name} cannot read x_{part} and y_{part} from {path} ({type(error).__name__}); it must be an .npz file "
            "with x_train, y_train, x_test and y_test."
        ) from error
    return _checked(name, path, images, labels)


def _checked(name: str, path: Path, images: NDArray[Any], labels: NDArray[Any]) -> tuple[Bytes, Bytes]:
    whole = images.dtype == np.uint8 and labels.dtype.kind in "iu" and labels.ndim == 1 and len(labels) > 0
    if not whole or images.shape != (len(labels), 28, 28) or labels.min() < 0 or labels.max() > 9:
        raise DataError(
            f"{name} found {images.dtype} images {images.shape} and labels {labels.shape} in {path}; it needs bytes "
            "(N, 28, 28) and N labels from 0 to 9."
        )
    return images, labels
