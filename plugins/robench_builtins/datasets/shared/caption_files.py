"""Read which captions an image has, in the five forms in which Flickr8k and Flickr30k are handed on."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from robench import DataError

#: File names in the order in which they are looked for, since a folder may hold several: Karpathy's knows a test split.
NAMES = (
    "dataset_flickr30k.json",
    "dataset_flickr8k.json",
    "Flickr8k.token.txt",
    "results_20130124.token",
    "captions.txt",
    "results.csv",
)
#: Beside Flickr8k.token.txt: the images of the official test split, one a line.
TEST_IMAGES = "Flickr_8k.testImages.txt"

#: Heads of the columns of a table, by what they hold.
HEADS = {"image": "image", "image_name": "image", "caption": "caption", "comment": "caption"}

#: Image file -> its captions, in their order.
Captions = dict[str, list[str]]


def find(root: Path) -> Path:
    """Return the file of captions in ``root`` or in a folder of it; DataError if there is none."""
    folders = list(within(root, 1))
    for name in NAMES:
        for folder in folders:
            if (folder / name).is_file():
                return folder / name
    raise DataError(
        f"flickr found no captions in {root}; put one of these there, beside the images' folder: {', '.join(NAMES)}."
    )


def within(root: Path, depth: int) -> Iterator[Path]:
    """Yield ``root`` and the folders in it down to ``depth``, nearer ones first, each level by name."""
    yield root
    level = [root]
    for _ in range(depth):
        level = [folder for parent in level for folder in _folders(parent)]
        yield from level


def _folders(parent: Path) -> list[Path]:
    # Of 30,000 images, scandir asks for none; Path.is_dir would for each.
    try:
        with os.scandir(parent) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"flickr cannot look into {parent} ({error.strerror}); mend its permissions, or move it elsewhere."
        ) from None


def read(path: Path) -> Captions:
    """Return the captions of the test images: of Karpathy's and Flickr8k's test split, else of every image.

    Raises:
        DataError: the file cannot be read, or names no image.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            pairs = list(_karpathy(json.loads(text)))
        else:
            pairs = list(_tokens(text) if "token" in path.name else _table(text))
        official = _official(path)
    except (OSError, ValueError, TypeError, LookupError, csv.Error, RecursionError) as error:
        raise DataError(
            f"flickr cannot read the captions in {path} ({type(error).__name__}: {str(error)[:100]}); download them "
            "again."
        ) from error
    found: Captions = {}
    for name, caption in pairs:
        if not official or name in official:
            found.setdefault(name, []).append(caption)
    if not found:
        raise DataError(f"flickr found no test image in {path}; download it again, or remove it to use another file.")
    return found


def _official(path: Path) -> set[str]:
    """Return the images of Flickr8k's own test split, where its list lies beside its captions; else nothing."""
    listed = path.parent / TEST_IMAGES
    if path.name != "Flickr8k.token.txt" or not listed.is_file():
        return set()
    return set(listed.read_text(encoding="utf-8").split())


def _karpathy(content: object) -> Iterator[tuple[str, str]]:
    """Read ``{"images": [{"filename": ..., "split": "test", "sentences": [{"raw": ...}, ...]}, ...]}``."""
    for image in content["images"]:  # type: ignore[index]  # what is no mapping raises, and is told
        if image["split"] == "test":
            sentences = image["sentences"] or [{"raw": ""}]
            yield from ((str(image["filename"]), str(sentence["raw"])) for sentence in sentences)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Read lines ``1000268201.jpg#0<TAB>A child climbs stairs .``; captions come in the order of their numbers."""
    found = []
    for line in filter(str.strip, text.split("\n")):
        match = re.fullmatch(r"(.+?)#(\d{1,9})\s*(.*)", line.rstrip("\r"))
        if match is None:
            raise ValueError(f"no line 'name.jpg#0<TAB>caption': {line[:60]!r}")
        found.append((match[1], int(match[2]), match[3]))
    yield from _ordered(found)


def _table(text: str) -> Iterator[tuple[str, str]]:
    """Read ``image,caption`` or ``image_name| comment_number| comment``, with a head."""
    lines = [line.rstrip("\r") for line in text.split("\n") if line.strip()]
    bars = bool(lines) and "|" in lines[0]
    # Between bars, quotation marks are part of the captions, and not all of them are closed.
    rows = csv.reader(lines, delimiter="|", quoting=csv.QUOTE_NONE) if bars else csv.reader(lines)
    heads = [head.strip().lower() for head in next(rows, [])]
    places = {HEADS[head]: place for place, head in enumerate(heads) if head in HEADS}
    if set(places) != {"image", "caption"}:
        raise ValueError(f"no head 'image,caption' or 'image_name| comment_number| comment': {', '.join(heads)[:60]!r}")
    numbered = heads.index("comment_number") if "comment_number" in heads else None
    found = []
    for row in rows:
        number, caption = 0, row[places["caption"]] if len(row) > places["caption"] else ""
        if numbered is not None and len(row) > numbered:
            # One line of Flickr30k's lacks its second bar: '2199200615.jpg| 4   A dog runs across the grass .'
            match = re.match(r"\s*(\d{1,9})\s*(.*)", row[numbered])
            number, caption = (int(match[1]), caption or match[2]) if match else (0, caption)
        found.append((row[places["image"]].strip(), number, caption))
    yield from _ordered(found)


def _ordered(found: list[tuple[str, int, str]]) -> Iterator[tuple[str, str]]:
    """Yield (image, caption) in the order of an image's numbers; where there are none, in the file's."""
    yield from ((name, caption) for name, _, caption in sorted(found, key=lambda entry: entry[1]))
