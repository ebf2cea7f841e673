"""The sets of CoOp's papers with its own splits and few shots, from folders laid out as it lays them out."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from robench import DataError, Dataset, SpecError, parameter
from robench_builtins.datasets.shared.coop_splits import LAYOUTS, Layout, class_names, few_shots, read_splits
from robench_builtins.datasets.shared.official_splits import data_folder
from robench_builtins.datasets.shared.resizable_set import NamedSet

if TYPE_CHECKING:
    from robench import Examples, Split
    from robench_builtins.datasets.shared.coop_splits import Splits

#: Where CoOp's files of splits can be had.
HOME = "https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md"


class Coop(NamedSet):
    """Serve a set of the CoOp papers with CoOp's fixed splits and few shots: ``coop:oxford-pets``.

    ``path`` is what CoOp's DATASETS.md calls $DATA: each set has a folder there, with its images and
    ``split_zhou_NAME.json``. Images that lie as torchvision keeps them are found too, with the file of splits in
    ``path`` itself. Class names and prompts are CoOp's. Train is ``shots`` images a class, val at most four, test all.
    """

    name = "coop"
    victim = "clip-vit-b32"
    source = (
        "Zhou et al., Learning to Prompt for Vision-Language Models (IJCV 2022); splits and prompts of "
        "https://github.com/KaiyangZhou/CoOp."
    )
    licence = "that of each data set, as robench show NAME states it"

    set: str = parameter(default="", help=f"the data set: {', '.join(LAYOUTS)}")
    path: str = parameter(
        default="",
        help="folder of the sets' folders, $DATA in CoOp's DATASETS.md; empty: $ROBENCH_DATA, or robench's cache",
        path=True,
    )
    shots: int = parameter(default=16, help="images of each class to train on; 0: all", minimum=0)
    shots_seed: int = parameter(default=1, help="seed that draws the shots, CoOp's --seed", minimum=0)
    size: int | None = parameter(
        default=224, help="side in pixels at which images are attacked, to which they are resized", minimum=8
    )

    def __post_init__(self) -> None:
        """Refuse a set of which CoOp has no splits."""
        if self.set and self.set not in LAYOUTS:
            near = get_close_matches(self.set, LAYOUTS, 1)
            hint = f"did you mean 'coop:{near[0]}'? " if near else ""
            raise SpecError(f"coop has no splits of '{self.set[:80]}'; {hint}Known: {', '.join(LAYOUTS)}.")

    @classmethod
    def shorthand(cls, text: str) -> dict[str, str] | None:
        """Read ``coop:NAME``."""
        word, colon, rest = text.partition(":")
        return {"set": rest} if colon and word == cls.name else None

    @property
    def templates(self) -> tuple[str, ...]:  # type: ignore[override]  # the set's own, where it is named
        """Return CoOp's prompt for the set."""
        return (self._layout.template,) if self.set else Dataset.templates

    def origin(self) -> str:
        """Return the set's name."""
        return self.set or self.name

    def classes(self) -> tuple[str, ...]:
        """Return the class names of the splits in label order, spelt as ``spelling`` says."""
        names = self.spelt(class_names(self._parts, self._split_file))
        twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
        if twice is not None:
            raise DataError(f"coop: two classes of {self._split_file} are read as '{twice}'; fetch it again.")
        return names

    def files(self) -> tuple[Path, ...]:
        """Return the local copy that the user named."""
        found = (self._found_split, self._found_images) if self.path and self.set else ()
        return tuple(place for place in found if place is not None)

    def missing(self) -> tuple[str, ...]:
        """Return what has to be put where, unless both the images and the splits are there."""
        return () if not self.set or (self._found_split and self._found_images) else (self._needs,)

    def load(self, split: Split) -> Examples:
        """Return one split, decoded on demand."""
        from robench import Examples, Resize, describe_image

        self.classes()
        images = self._images
        chosen = few_shots(self._parts, self.shots, self.shots_seed)[split]
        paths = [images / item.path for item in chosen]
        how = self.resizing or Resize(describe_image(paths[0]).width)
        return Examples.from_files(paths, [item.label for item in chosen], how)

    @property
    def _layout(self) -> Layout:
        if not self.set:
            raise SpecError(f"coop needs a data set: write coop:NAME with one of {', '.join(LAYOUTS)}.")
        return LAYOUTS[self.set]

    @property
    def _found_images(self) -> Path | None:
        root, layout = data_folder(self.path), self._layout
        places = (root / layout.folder / layout.images, root / layout.elsewhere)
        return next((place for place in places if place.is_dir()), None)

    @property
    def _found_split(self) -> Path | None:
        root, layout = data_folder(self.path), self._layout
        beside = (root / layout.elsewhere).parent
        places = (root / layout.folder / layout.split, beside / layout.split, root / layout.split)
        return next((place for place in places if place.is_file()), None)

    @property
    def _needs(self) -> str:
        root, layout = data_folder(self.path), self._layout
        lists = f"{layout.split} and the lists beside it" if layout.split.endswith(".txt") else layout.split
        place = root / layout.folder
        return (
            f"coop:{self.set} cannot be downloaded: put the images into {place / layout.images} (or where torchvision "
            f"keeps them, {root / layout.elsewhere}) and {lists} into {place}, as {HOME} says, or pass "
            "-p coop.path=DIR."
        )

    @property
    def _images(self) -> Path:
        if self._found_images is None:
            raise DataError(self._needs)
        return self._found_images

    @property
    def _split_file(self) -> Path:
        if self._found_split is None:
            raise DataError(self._needs)
        return self._found_split

    @cached_property
    def _parts(self) -> Splits:
        return read_splits(self._split_file)
