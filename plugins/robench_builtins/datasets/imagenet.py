"""ImageNet from a local folder."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robench import DataError, parameter
from robench_builtins.datasets.imagefolder import ImageFolder
from robench_builtins.datasets.shared.imagenet_wnids import thousand

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Files that say what wnids mean, as they lie beside copies of the images.
CLASS_NAMES = ("LOC_synset_mapping.txt", "imagenet_class_index.json", "classnames.txt", "words.txt")

WNID = re.compile(r"n\d{8}")


class ImageNet(ImageFolder):
    """Serve ImageNet, or any part of its classes, from a local folder; it cannot be downloaded freely.

    Read are torchvision's layout (``val/n01440764/*.JPEG``, with ``train/`` beside it or without) and plain class
    folders. ``val`` holds the test images, since the official test labels are secret. Class folders named by wnids are
    read as words through ``names``, a mapping beside the images, or the names that torchvision ships for the thousand.
    """

    name = "imagenet"
    victim = "clip-vit-b32"
    source = (
        "Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge (IJCV 2015); "
        "names of the thousand classes as torchvision ships them."
    )
    licence = "research only, under the terms of image-net.org"
    templates = (
        "a photo of a {}",
        "a bad photo of a {}",
        "a photo of many {}",
        "a photo of the large {}",
        "a photo of the small {}",
        "itap of a {}",
    )
    typed = "imagenet"

    path: str = parameter(default="", help="the folder that holds val (and train), or class folders", path=True)
    test: float = parameter(
        default=1.0, help="share of each class for test, where there is no train folder", minimum=0, maximum=1
    )
    names: str = parameter(
        default="",
        help="file with the names of wnids: lines 'n01440764 tench, ...', or imagenet_class_index.json; empty: the one "
        "beside the images, or torchvision's for wnids of the thousand",
        path=True,
    )

    def words(self, folders: Sequence[str]) -> list[str]:
        """Return the first name of each wnid; other folders' names as words."""
        wnids = [folder for folder in folders if WNID.fullmatch(folder)]
        if not wnids:
            return super().words(folders)
        known = self._names(folders)
        missing = [wnid for wnid in wnids if wnid not in known]
        if missing:
            raise DataError(
                f"imagenet has no name for {missing[0]}"
                f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}; pass -p dataset.names=FILE with lines "
                f"'{missing[0]} NAME', such as LOC_synset_mapping.txt of the challenge."
            )
        return [known[folder] if folder in known else super(ImageNet, self).words([folder])[0] for folder in folders]

    def files(self) -> tuple[Path, ...]:
        """Return the folder and the mapping."""
        return (*super().files(), *((Path(self.names).expanduser(),) if self.names else ()))

    def _root(self) -> Path:
        from robench import image_suffixes
        from robench_builtins.datasets.shared.folder_walk import files_in, subfolders

        root = super()._root()
        val = root / "val"
        if val.is_dir() and not (root / "train").is_dir():
            root = val
        loose = [] if subfolders(root) else [file for file in files_in(root) if file.suffix.lower() in image_suffixes()]
        if loose:
            raise DataError(
                f"imagenet found {len(loose)} images in {root}, but no class folders; sort them into one folder a "
                "wnid, as torchvision.datasets.ImageNet does with the challenge's archives."
            )
        return root

    def _beside(self) -> Path:
        """Return the folder in which a mapping may lie."""
        return Path(self.path).expanduser()

    def _names(self, folders: Sequence[str]) -> Mapping[str, str]:
        root = self._beside()
        usual = [*(root / name for name in CLASS_NAMES), root.parent / "classnames.txt"]  # the last as CoOp has it
        given = [Path(self.names).expanduser()] if self.names else [path for path in usual if path.is_file()]
        if given:
            # words.txt names all of WordNet, where many more share a name.
            return read_names(given[0], folders if given[0].name == "words.txt" else None)
        return thousand()


def read_names(path: Path, among: Collection[str] | None = None) -> dict[str, str]:
    """Return the first name of each wnid in a mapping, text or JSON; names that two share get their wnid behind them.

    With ``among`` only these wnids are named.

    Raises:
        DataError: the file cannot be read, or maps no wnid.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("no regular file")
        text = path.read_text(encoding="utf-8")
        pairs = _json_pairs(json.loads(text)) if path.suffix == ".json" else _line_pairs(text)
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise DataError(
            f"imagenet cannot read the names in {path} ({type(error).__name__}); it must hold lines "
            "'n01440764 tench, ...', or imagenet_class_index.json."
        ) from error
    if not pairs:
        raise DataError(f"imagenet found no wnid in {path}; it must hold lines such as 'n01440764 tench, Tinca tinca'.")
    wanted = dict(pairs if among is None else (pair for pair in pairs if pair[0] in set(among)))
    counts = Counter(wanted.values() if among is not None else (name for _, name in pairs))
    return {wnid: name if counts[name] == 1 else f"{name} ({wnid})" for wnid, name in wanted.items()}


def _line_pairs(text: str) -> list[tuple[str, str]]:
    found = [re.match(r"(n\d{8})[\s,:]+(.+)", line.strip()) for line in text.splitlines()]
    return [(match[1], _first(match[2])) for match in found if match]


def _json_pairs(content: object) -> list[tuple[str, str]]:
    """Read ``{"0": ["n01440764", "tench"]}``, or a plain ``{"n01440764": "tench, Tinca tinca"}``."""
    entries = dict(content).items()  # type: ignore[call-overload]  # what is no mapping raises, and is told
    pairs = [(value[0], value[1]) if isinstance(value, list) else (key, value) for key, value in entries]
    return [(wnid, _first(name)) for wnid, name in pairs if WNID.fullmatch(wnid)]


def _first(names: str) -> str:
    return names.split(",")[0].replace("_", " ").strip()
