"""The Hateful Memes Challenge, as images alone."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench import DataError, parameter
from robench_builtins.datasets.shared.manual_download import ManualDownload
from robench_builtins.datasets.shared.official_splits import data_folder

if TYPE_CHECKING:
    from robench import Examples, Split

BASE = "hateful_memes"
HOME = "https://hatefulmemeschallenge.com"
#: Split -> the lists it is made of; an image of an earlier line of this table is in no later one.
LISTS = {
    "test": ("test_seen.jsonl", "test_unseen.jsonl"),
    "val": ("dev_seen.jsonl", "dev_unseen.jsonl", "dev.jsonl"),
    "train": ("train.jsonl",),
}
#: Most bytes of a list; train.jsonl has about one million.
MOST_BYTES = 50_000_000


class HatefulMemes(ManualDownload):
    """Serve Hateful Memes: 8,500 train and 3,000 test memes, of which the victim sees the picture alone.

    Read is the layout of the challenge: ``img/`` and lists such as ``test_seen.jsonl``. Test is test_seen and
    test_unseen, as in TeCoA's code; val is dev_seen and dev_unseen, each image once. The first phase's ``test.jsonl``
    has no labels.
    """

    name = "hateful-memes"
    victim = "clip-vit-b32"
    source = "Kiela et al., The Hateful Memes Challenge (NeurIPS 2020)."
    licence = "Facebook's for the challenge: research only, not to be handed on"
    templates = ("a {}.",)
    base = BASE

    path: str = parameter(
        default="",
        help=f"the folder of img/ and the lists, or one that holds it as {BASE}; empty: $ROBENCH_DATA, or the cache",
        path=True,
    )
    size: int | None = parameter(
        default=224, help="side in pixels at which images are attacked, to which they are resized", minimum=8
    )

    def classes(self) -> tuple[str, ...]:
        """Return the two classes in the words of CLIP's prompts."""
        return self.spelt(("meme", "hatespeech meme"))

    def load(self, split: Split) -> Examples:
        """Return one split, decoded on demand."""
        root, found = self.root, self._splits[split]
        if not found:
            raise DataError(
                f"hateful-memes needs {' and '.join(LISTS[split][:2])} in {root} for its {split} images, with a label "
                f"in each line; fetch the lists of phase 2 from {HOME}."
            )
        return self.served([root / image for image in found], list(found.values()))

    def is_copy(self, place: Path) -> bool:
        """Tell whether a folder holds the pictures."""
        return (place / "img").is_dir()

    @property
    def needs(self) -> str:
        """Say what to download, and where to put it."""
        place = data_folder(self.path) / BASE
        return (
            f"hateful-memes (4 GB) has to be downloaded by hand, after its licence is agreed to at {HOME}: put img/ "
            f"and its lists into {place}, or pass -p hateful-memes.path=DIR."
        )

    @cached_property
    def _splits(self) -> dict[str, dict[str, int]]:
        """Return, by split, each image with its label."""
        seen: dict[str, int] = {}
        found: dict[str, dict[str, int]] = {}
        for split, names in LISTS.items():
            lists = [self.root / name for name in names if (self.root / name).is_file()]
            found[split] = {}
            for image, label in (pair for path in lists for pair in _read(path)):
                if seen.get(image, label) != label:
                    raise DataError(f"hateful-memes: the lists in {self.root} give '{image}' both labels.")
                if image not in seen:
                    seen[image] = found[split][image] = label
        return found


def _read(path: Path) -> list[tuple[str, int]]:
    """Return the images and labels of a list; DataError for a line that is none, or whose path leads outside."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES:,} bytes")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"hateful-memes cannot read {path} ({str(error)[:200]}); fetch it again from {HOME}.") from None
    return [_entry(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]


def _entry(line: str, path: Path, number: int) -> tuple[str, int]:
    try:
        content: Any = json.loads(line)
        image, label = content["img"], content["label"]
    except (ValueError, KeyError, TypeError, RecursionError):
        what = 'no {"img": ..., "label": 0 or 1}'
        raise DataError(f"hateful-memes: line {number} of {path} is {what}; fetch it again from {HOME}.") from None
    if type(label) is not int or label not in (0, 1):
        raise DataError(f"hateful-memes: line {number} of {path} has the label {str(label)[:40]}, which is not 0 or 1.")
    folder, _, name = image.partition("/") if isinstance(image, str) else ("", "", "")
    if folder != "img" or not name or Path(name).name != name or any(letter in name for letter in "\\:\0"):
        raise DataError(f"hateful-memes: line {number} of {path} names '{str(image)[:80]}', which is no image in img/.")
    return f"img/{name}", label
