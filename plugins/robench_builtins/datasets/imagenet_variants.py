"""ImageNet-R, ImageNet-Sketch, ImageNet-A and ImageNetV2: other images of ImageNet's classes, for testing alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from robench import DataError, parameter
from robench_builtins.datasets.imagefolder import Layout
from robench_builtins.datasets.imagenet import ImageNet
from robench_builtins.datasets.shared.folder_walk import existing_folder, subfolders
from robench_builtins.datasets.shared.imagenet_wnids import wnids
from robench_builtins.datasets.shared.official_splits import data_folder


class ImageNetVariant(ImageNet):
    """Serve images in class folders named by wnids of the thousand; all are for test by default."""

    #: Folders in which the class folders lie, below ``path``: as the authors pack them, then as CoOp's DATASETS.md.
    places: ClassVar[tuple[str, ...]] = ()
    #: How many classes there are, what a download takes, and where it comes from.
    known: ClassVar[int] = 1000
    download_size: ClassVar[str] = ""
    home: ClassVar[str] = ""

    path: str = parameter(
        default="",
        help="the folder of class folders, or one that holds it; empty: $ROBENCH_DATA, or robench's cache of the user",
        path=True,
    )

    @classmethod
    def shorthand(cls, text: str) -> dict[str, str] | None:
        """Read ``NAME:PATH``."""
        word, colon, path = text.partition(":")
        return {"path": path} if colon and word == cls.name else None

    def files(self) -> tuple[Path, ...]:
        """Return the local copy that the user named, and the mapping."""
        own = (self._found,) if self.path and self._found is not None else ()
        return (*own, *((Path(self.names).expanduser(),) if self.names else ()))

    def missing(self) -> tuple[str, ...]:
        """Return what to download, unless it is there."""
        return () if self._found is not None else (self._needs,)

    def is_class(self, folder: str) -> bool:
        """Tell whether a folder is that of a class."""
        return folder in wnids()

    def order(self, folder: str) -> str | int:
        """Return what the class folders are sorted by, to be in the order of the labels."""
        return folder

    @property
    def _found(self) -> Path | None:
        """Return the folder of class folders, if there is one."""
        root = data_folder(self.path)
        places = [root / place for place in self.places] + ([root] if self.path else [])
        found = (place for place in places if place.is_dir())
        return next((place for place in found if any(self.is_class(folder.name) for folder in subfolders(place))), None)

    @property
    def _needs(self) -> str:
        return (
            f"{self.name} ({self.download_size}) has to be downloaded by hand: unpack {self.home} into "
            f"{data_folder(self.path)}, so that the class folders lie in {data_folder(self.path) / self.places[0]}, or "
            f"pass -p {self.name}.path=DIR."
        )

    @cached_property
    def _place(self) -> Path:
        if self._found is None:
            raise DataError(self._needs)
        return existing_folder(self.name, str(self._found))

    def _root(self) -> Path:
        return self._place

    def _beside(self) -> Path:
        return self._place

    @cached_property
    def _layout(self) -> Layout:
        """Return what lies in the folder, whose classes must be all that the set has."""
        found = super()._layout
        odd = next((folder for folder in found.cut if not self.is_class(folder)), None)
        if odd is not None:
            raise DataError(
                f"{self.name}: '{odd}' in {self._root()} is no class of ImageNet's thousand; remove it, or name any "
                "folder of class folders as folder:DIR."
            )
        if len(found.cut) != self.known:
            raise DataError(
                f"{self.name} has {self.known} classes, and {self._root()} has {len(found.cut)} class folders; unpack "
                f"{self.home} again, or choose from a whole copy with -p {self.name}.classes=0-9."
            )
        return replace(found, cut={folder: found.cut[folder] for folder in sorted(found.cut, key=self.order)})


class ImageNetR(ImageNetVariant):
    """Serve ImageNet-R: 30,000 renditions (art, toys, sketches) of 200 of ImageNet's classes; all are for test."""

    name = "imagenet-r"
    source = "Hendrycks et al., The Many Faces of Robustness (ICCV 2021); names as torchvision ships them."
    licence = "MIT for the collection; the renditions are their makers'"
    places = ("imagenet-r", "imagenet-rendition/imagenet-r")
    known = 200
    download_size = "2.2 GB"
    home = "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar"


class ImageNetA(ImageNetVariant):
    """Serve ImageNet-A: 7,500 photos of 200 of ImageNet's classes that a ResNet-50 gets wrong; all are for test."""

    name = "imagenet-a"
    source = "Hendrycks et al., Natural Adversarial Examples (CVPR 2021); names as torchvision ships them."
    licence = "MIT for the collection; the photos are their makers'"
    places = ("imagenet-a", "imagenet-adversarial/imagenet-a")
    known = 200
    download_size = "690 MB"
    home = "https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar"


class ImageNetSketch(ImageNetVariant):
    """Serve ImageNet-Sketch: 50,889 drawings of ImageNet's thousand classes; all are for test."""

    name = "imagenet-sketch"
    source = "Wang et al., Learning Robust Global Representations by Penalizing Local Predictive Power (NeurIPS 2019)."
    licence = "MIT for the collection; the drawings are their makers'"
    places = ("sketch", "imagenet-sketch/images", "imagenet-sketch/sketch", "imagenet-sketch")
    download_size = "7.6 GB"
    home = "https://github.com/HaohanWang/ImageNet-Sketch"


class ImageNetV2(ImageNetVariant):
    """Serve ImageNetV2 (matched frequency): 10,000 new photos of ImageNet's thousand classes; all are for test.

    Its class folders bear the labels, ``0`` to ``999``, and are taken in the order of these numbers.
    """

    name = "imagenet-v2"
    source = (
        "Recht et al., Do ImageNet Classifiers Generalize to ImageNet? (ICML 2019); names as torchvision ships them."
    )
    licence = "MIT for the collection; the photos are their makers'"
    places = (
        "imagenetv2-matched-frequency-format-val",
        "imagenetv2/imagenetv2-matched-frequency-format-val",
        "imagenetv2",
    )
    download_size = "1.3 GB"
    home = "https://huggingface.co/datasets/vaishaal/ImageNetV2"

    def is_class(self, folder: str) -> bool:
        """Tell whether a folder is the number of a class."""
        return folder.isascii() and folder.isdecimal() and str(int(folder)) == folder and int(folder) < self.known

    def order(self, folder: str) -> int:
        """Return the label, which is the folder's name; 0 for what is no class."""
        return int(folder)

    def words(self, folders: list[str]) -> list[str]:  # type: ignore[override]  # of its own folders alone
        """Return the names of the labels."""
        return super().words([wnids()[int(folder)] for folder in folders])


VARIANTS: list[type[ImageNetVariant]] = [ImageNetA, ImageNetR, ImageNetSketch, ImageNetV2]
