"""CIFAR-10 as torchvision serves it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench import DataError, parameter
from robench_builtins.datasets.shared.official_splits import cut, data_folder
from robench_builtins.datasets.shared.resizable_set import ResizableSet
from robench_builtins.offline import offline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robench import Examples, Split

TEMPLATES = (
    "a photo of a {}",
    "a blurry photo of a {}",
    "a low contrast photo of a {}",
    "a photo of the {}",
    "a bad photo of a {}",
    "a photo of a small {}",
    "a photo of a big {}",
)


class Cifar10(ResizableSet):
    """Serve CIFAR-10: 60,000 photos of ten classes at 32 x 32.

    10,000 test images are the official ones; 5,000 val and 45,000 train images are cut, stratified and seeded, from
    the 50,000 official train images.
    """

    name = "cifar10"
    victim = "clip-vit-b32"
    source = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)."
    licence = "none stated by the authors; cite the report"
    templates = TEMPLATES

    root: str = parameter(
        default="",
        help="folder that holds cifar-10-batches-py; empty: $ROBENCH_DATA, or robench's cache folder of the user",
        path="checked",
    )
    val: int = parameter(
        default=5000, help="validation images, cut from the official train images", minimum=10, maximum=49990
    )
    train: int = parameter(default=0, help="train images; 0: all that val leaves", minimum=0, maximum=49990)
    split_seed: int = parameter(default=0, help="seed that cuts val from train", minimum=0)

    def classes(self) -> tuple[str, ...]:
        """Return the official names in official order."""
        return ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    def missing(self) -> tuple[str, ...]:
        """Return what to download, unless the folder of the batches is there."""
        return archive_missing(self.name, self._folder(), "cifar-10-python.tar.gz", "cifar-10-batches-py", "root")

    def load(self, split: Split) -> Examples:
        """Return one split as uint8 images, of 3 x 32 x 32 unless a size is asked for."""
        import torch

        from robench import Examples

        official = _official(self._folder(), train=split != "test")
        images = torch.from_numpy(official.data).permute(0, 3, 1, 2)
        labels = torch.tensor(official.targets)
        if split != "test":
            rows = self._rows(official.targets, split)
            images, labels = images[rows], labels[rows]
        return Examples.from_tensors(images.contiguous(), labels).resized(self.resizing)

    def _folder(self) -> Path:
        return data_folder(self.root)

    def _rows(self, labels: Sequence[int], split: Split) -> list[int]:
        return cut(self.name, labels, split, self.val, self.train, self.split_seed)


def _official(folder: Path, train: bool) -> Any:
    from torchvision.datasets import CIFAR10

    return checked(CIFAR10, "cifar10", "root", folder, train)


def archive_missing(name: str, folder: Path, archive: str, unpacked: str, parameter: str) -> tuple[str, ...]:
    """Return what to say where neither the official archive nor what it unpacks to is in ``folder``."""
    if (folder / unpacked).is_dir() or (folder / archive).is_file():
        return ()
    return (
        f"{name} (170 MB, and 180 MB unpacked): to {folder}; without a network, put {archive} of "
        f"https://www.cs.toronto.edu/~kriz/ there and unpack it, or pass -p dataset.{parameter}=DIR.",
    )


def checked(source: Any, name: str, parameter: str, folder: Path, train: bool) -> Any:
    """Return torchvision's data set ``source``, whose files are checked against their MD5 before they are unpickled.

    Args:
        source: torchvision's class, CIFAR10 or one derived from it.
        name: the data set's, for the user.
        parameter: what the user names the folder with.
        folder: holds or receives the official archive.
        train: the official train images, else the test images.
    """
    import warnings

    archive = folder / source.filename
    help_ = (
        f"download {source.url} (MD5 {source.tgz_md5}), put it at {archive} and unpack it there, so that "
        f"{folder / source.base_folder} exists; or name another folder with -p dataset.{parameter}=DIR."
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy frets over the age of the official pickles
            return source(folder, train=train, download=not offline())
    except RuntimeError as error:
        missing = _first_missing(folder, source)
        why = "and the run is offline" if offline() else f"({error})"
        raise DataError(f"{name} needs {missing}, which is missing or damaged {why}: {help_}") from error
    except OSError as error:
        raise DataError(f"{name} could not be downloaded or read ({error}): {help_}") from error


def _first_missing(folder: Path, source: Any) -> Path:
    from torchvision.datasets.utils import check_integrity

    parts = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
    paths: list[tuple[Path, str]] = [(folder / source.base_folder / name, md5) for name, md5 in parts]
    damaged = [path for path, md5 in paths if not check_integrity(str(path), md5)]
    return damaged[0] if damaged else folder
