"""PlantVillage: leaves of crops, healthy and diseased."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from robench import DataError, parameter
from robench_builtins.datasets.imagefolder import ImageFolder

if TYPE_CHECKING:
    from robench import Examples, Split
    from robench_builtins.datasets.hf import Hf

#: Where the usual archives keep their class folders.
INSIDE = ("", "PlantVillage", "plantvillage dataset/color", "raw/color", "color")

#: A name on the Hugging Face hub.
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class PlantVillage(ImageFolder):
    """Serve PlantVillage: 54,303 photos of leaves of 14 crops, 38 classes of crop and disease, at 256 x 256.

    A local copy in any of its spellings (``Tomato_Bacterial_spot``, ``Tomato___Bacterial_spot``), or a copy on the
    Hugging Face hub. With ``crop=tomato`` the classes of that crop alone. Splits as in ``imagefolder``: train/ and
    test/ folders are taken as they are, else they are cut, stratified and seeded. ``balance`` and ``augment`` never
    touch val or test; images that a model's training keeps for its own validation may then be copies of trained ones.
    Backgrounds differ by class, so that accuracy here says little about the field.
    """

    name = "plantvillage"
    victim = "plant-vit"
    source = (
        "Mohanty, Hughes and Salathe, Using Deep Learning for Image-Based Plant Disease Detection "
        "(Frontiers in Plant Science 7:1419, 2016)."
    )
    licence = "CC BY-SA 3.0 (as the authors' repository says; copies elsewhere claim CC BY 4.0 or CC0)"
    templates = (
        "a photo of a {} leaf",
        "a close-up photo of a {} leaf",
        "a photo of a leaf, {}",
        "a photo of a plant with {}",
    )
    typed = "plantvillage"

    path: str = parameter(default="", help="the folder of class folders, or an id on the Hugging Face hub", path=True)
    size: int = parameter(default=256, help="side in pixels to which the images are resized and cropped", minimum=8)
    crop: str = parameter(default="", help="crop whose classes are kept, such as tomato; empty: all")
    balance: int = parameter(
        default=0,
        help="train images a class, reached by copies or by leaving some out; 0: as they are",
        minimum=0,
    )
    augment: Literal["turns", "report-cnn", "report-vit"] = parameter(
        default="turns",
        later=True,
        help="copies of balance; turns: quarter turns and mirrors, no two alike; report-cnn: cropped, rotated, "
        "mirrored, recoloured, as report 001 makes them for its CNN; report-vit: for its transformer, with holes too",
    )

    def classes(self) -> tuple[str, ...]:
        """Return the classes in byte order of their folders, such as ``tomato bacterial spot``."""
        return tuple(self.words([name for name, _ in self._hub_classes()])) if self._hub else super().classes()

    def words(self, folders: Sequence[str]) -> list[str]:
        """Return crop and disease in small letters: ``Tomato__Tomato_YellowLeaf__Curl_Virus`` names its crop once."""
        return [read_name(folder) for folder in folders]

    def keeps(self, folder: str) -> bool:
        """Tell whether a class is one of the crop."""
        crop = read_name(self.crop)
        return not crop or f"{read_name(folder)} ".startswith(f"{crop} ")

    def files(self) -> tuple[Path, ...]:
        """Return the folder; a copy on the hub is known by its content."""
        return () if self._hub else super().files()

    def notes(self) -> tuple[str, ...]:
        """Return what lies in the folder and does not count."""
        return () if self._hub else super().notes()

    def load(self, split: Split) -> Examples:
        """Return one split, decoded on demand; the train split is the only one that ``balance`` changes."""
        examples = self._hub_examples(split) if self._hub else super().load(split)
        if split != "train" or not self.balance:
            return examples
        if self.augment != "turns":
            from robench_builtins.datasets.shared.leaf_augmentation import augmented

            return augmented(examples, self.balance, self.split_seed, self.augment)
        from robench_builtins.datasets.shared.class_balancing import balanced

        return balanced(examples, self.balance, self.split_seed, self.name, self.classes())

    def _root(self) -> Path:
        if not self.path:
            raise DataError(
                "plantvillage needs a copy of the photos: pass -p dataset.path=DIR with the folder of class folders, "
                "or an id on the Hugging Face hub."
            )
        root = super()._root()
        places = [root / inside for inside in INSIDE]
        root = next((place for place in places if place.is_dir() and self._crops(place)), root)
        if self.crop and not any(map(self.keeps, self._crops(root))):
            found = ", ".join(sorted({read_name(folder).split()[0] for folder in self._crops(root)})) or "none"
            raise DataError(f"plantvillage found no class of the crop '{self.crop}' in {root}; crops there: {found}.")
        return root

    def _crops(self, place: Path) -> list[str]:
        """Return the class folders at a place, or in its train folder, that hold images themselves."""
        from robench_builtins.datasets.shared.folder_walk import files_in, subfolders

        inner = place / "train" if (place / "train").is_dir() else place
        return [folder.name for folder in subfolders(inner) if read_name(folder.name) and files_in(folder)]

    @cached_property
    def _hub(self) -> Hf | None:
        """Return the copy on the hub, if ``path`` names one and no folder here has that name."""
        from robench_builtins.datasets.shared.folder_walk import is_folder

        if not HUB_ID.fullmatch(self.path) or is_folder(self.path):
            return None
        from robench_builtins.datasets.hf import Hf

        return Hf(path=self.path, size=self.size, val=self.val, test=self.test, split_seed=self.split_seed)

    def _hub_classes(self) -> list[tuple[str, int]]:
        """Return the kept classes of the hub's copy, in byte order, with the labels they have there."""
        hub = self._hub
        names = hub.classes() if hub is not None else ()
        return sorted((name, label) for label, name in enumerate(names) if self.keeps(name))

    def _hub_examples(self, split: Split) -> Examples:
        from robench_builtins.datasets.shared.class_balancing import derived

        hub = self._hub
        kept = self._hub_classes()
        if hub is None or not kept:
            raise DataError(f"plantvillage found no class of the crop '{self.crop}' in {self.path}; choose another.")
        places = {label: place for place, (_, label) in enumerate(kept)}
        base = hub.load(split)
        labels = base.labels.tolist()
        rows = [row for row, label in enumerate(labels) if label in places]
        return derived(base, rows, [places[labels[row]] for row in rows])


def read_name(folder: str) -> str:
    """Return a class folder's name as words in small letters, its crop named once."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", folder)  # YellowLeaf
    words = re.sub(r"[_,\-\s]+", " ", spaced).lower().split()
    return " ".join(words[1:] if words[:1] == words[1:2] else words)
