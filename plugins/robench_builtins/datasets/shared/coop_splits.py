"""CoOp's fixed splits of ten sets: where they lie, how they are read, and how its few shots are drawn.

Read in github.com/KaiyangZhou/CoOp at 1fbb1a6: DATASETS.md, datasets/*.py (folders, files, read_split) and
trainers/zsclip.py (CUSTOM_TEMPLATES); and in github.com/KaiyangZhou/Dassl.pytorch at 27eb2f4: base_dataset.py.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from robench import DataError

#: Most bytes of a file of splits; that of SUN397 has about three million.
MOST_BYTES = 100_000_000
PARTS = ("train", "val", "test")
#: No set has more classes.
MOST_CLASSES = 100_000
#: Most images of a class for validation where few are for training.
MOST_VAL = 4


class Layout(NamedTuple):
    """Say where a set lies below CoOp's data folder.

    Attributes:
        folder: the set's folder.
        images: the folder in it with which the paths of images begin.
        split: the file of splits in the set's folder, or the last of FGVC-Aircraft's three.
        template: CoOp's prompt.
        elsewhere: the folder of the same images where torchvision keeps them.
    """

    folder: str
    images: str
    split: str
    template: str
    elsewhere: str


LAYOUTS = {
    "caltech101": Layout(
        "caltech-101",
        "101_ObjectCategories",
        "split_zhou_Caltech101.json",
        "a photo of a {}.",
        "caltech101/101_ObjectCategories",
    ),
    "dtd": Layout("dtd", "images", "split_zhou_DescribableTextures.json", "{} texture.", "dtd/dtd/images"),
    "eurosat": Layout(
        "eurosat", "2750", "split_zhou_EuroSAT.json", "a centered satellite photo of {}.", "eurosat/2750"
    ),
    "fgvc-aircraft": Layout(
        "fgvc_aircraft",
        "images",
        "images_variant_test.txt",
        "a photo of a {}, a type of aircraft.",
        "fgvc-aircraft-2013b/data/images",
    ),
    "flowers102": Layout(
        "oxford_flowers",
        "jpg",
        "split_zhou_OxfordFlowers.json",
        "a photo of a {}, a type of flower.",
        "flowers-102/jpg",
    ),
    "food101": Layout(
        "food-101", "images", "split_zhou_Food101.json", "a photo of {}, a type of food.", "food-101/images"
    ),
    "oxford-pets": Layout(
        "oxford_pets",
        "images",
        "split_zhou_OxfordPets.json",
        "a photo of a {}, a type of pet.",
        "oxford-iiit-pet/images",
    ),
    "stanford-cars": Layout("stanford_cars", "", "split_zhou_StanfordCars.json", "a photo of a {}.", "stanford_cars"),
    "sun397": Layout("sun397", "SUN397", "split_zhou_SUN397.json", "a photo of a {}.", "SUN397"),
    "ucf101": Layout(
        "ucf101",
        "UCF-101-midframes",
        "split_zhou_UCF101.json",
        "a photo of a person doing {}.",
        "ucf101/UCF-101-midframes",
    ),
}


class Item(NamedTuple):
    """Hold one image: its path below the folder of images, its label and its class."""

    path: str
    label: int
    name: str


Splits = dict[str, list[Item]]


def read_splits(path: Path) -> Splits:
    """Return the parts train, val and test of a ``split_zhou_*.json``, or of FGVC-Aircraft's ``images_variant_*.txt``.

    Raises:
        DataError: the file cannot be read, a path leads outside, an image is named twice, or labels and class names do
            not go together.
    """
    found = _variants(path) if path.suffix == ".txt" else _listed(path)
    parts = {part: [_item(entry, path) for entry in entries] for part, entries in found}
    where: dict[str, str] = {}
    for part, items in parts.items():
        if not items:
            raise DataError(f"coop: {path} has no {part} images; fetch it again.")
        for item in items:
            if item.path in where:
                raise DataError(
                    f"coop: {path} names '{item.path}' in {where[item.path]} and in {part}; fetch it again."
                )
            where[item.path] = part
    return parts


def class_names(parts: Splits, path: Path) -> tuple[str, ...]:
    """Return the classes in label order; DataError where a label has two names or none."""
    names: dict[int, str] = {}
    for item in (item for items in parts.values() for item in items):
        known = names.setdefault(item.label, item.name)
        if known != item.name:
            raise DataError(f"coop: {path} calls the class {item.label} '{known}' and '{item.name}'; fetch it again.")
    absent = next((label for label in range(max(names) + 1) if label not in names), None)
    if absent is not None or len(names) < 2:
        what = f"has no image of class {absent}" if absent is not None else "has one class alone"
        raise DataError(f"coop: {path} {what}; fetch it again.")
    return tuple(names[label] for label in range(len(names)))


def few_shots(parts: Splits, shots: int, seed: int) -> Splits:
    """Return the parts with ``shots`` images a class to train on and at most four for validation; 0: all.

    They are those that Dassl's ``generate_fewshot_dataset`` draws from Python's generator seeded so: class by class in
    the order of the file, train before val. A class that has fewer gives all that it has.
    """
    if not shots:
        return parts
    draw = random.Random(seed)
    drawn = {"train": shots, "val": min(shots, MOST_VAL)}
    return {**parts, **{part: _drawn(parts[part], count, draw) for part, count in drawn.items()}}


def _drawn(items: Sequence[Item], count: int, draw: random.Random) -> list[Item]:
    classes: dict[int, list[Item]] = {}
    for item in items:
        classes.setdefault(item.label, []).append(item)
    chosen = (draw.sample(members, count) if len(members) >= count else members for members in classes.values())
    return [item for members in chosen for item in members]


def _listed(path: Path) -> Iterator[tuple[str, list[object]]]:
    try:
        content = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"coop: {path} is not JSON ({str(error)[:100]}); fetch it again.") from None
    for part in PARTS:
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise DataError(f"coop: {path} has no list '{part}'; it must be CoOp's, with train, val and test.")
        yield part, entries


def _variants(path: Path) -> Iterator[tuple[str, list[object]]]:
    """Read FGVC-Aircraft's own lists, lines of a number and a variant, whose labels are the lines of variants.txt."""
    variants = [line.strip() for line in _text(path.with_name("variants.txt")).splitlines() if line.strip()]
    for part in PARTS:
        beside = path.with_name(f"images_variant_{part}.txt")
        pairs = [line.strip().partition(" ")[::2] for line in _text(beside).splitlines() if line.strip()]
        unknown = next((name for _, name in pairs if name not in variants), None)
        if unknown is not None:
            raise DataError(f"coop: {beside} names '{unknown[:100]}', which is not in variants.txt; fetch both again.")
        yield part, [[f"{number}.jpg", variants.index(name), name] for number, name in pairs]


def _text(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise ValueError(f"no file of at most {MOST_BYTES:,} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"coop cannot read {path} ({str(error)[:200]}); fetch it again.") from None


def _item(entry: object, path: Path) -> Item:
    """Return one entry ``[path, label, class]``; DataError if it is none, or if its path leads outside."""
    image, label, name = entry if isinstance(entry, list) and len(entry) == 3 else (None, None, None)
    if not isinstance(image, str) or not isinstance(name, str) or type(label) is not int or not name.strip():
        raise DataError(f"coop: {path} holds {str(entry)[:100]}, which is no [image, label, class]; fetch it again.")
    if not 0 <= label < MOST_CLASSES:
        raise DataError(f"coop: {path} gives '{image[:100]}' the class {label}; fetch it again.")
    place = PurePosixPath(image)
    if place.is_absolute() or ".." in place.parts or not image.strip() or any(letter in image for letter in ":\\\0"):
        raise DataError(f"coop: {path} names '{image[:100]}', a path that leads outside; take CoOp's own file.")
    return Item(str(place), label, name)
