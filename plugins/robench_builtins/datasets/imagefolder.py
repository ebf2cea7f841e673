"""Any folder of class folders of image files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from robench import DataError, Resize, parameter
from robench_builtins.datasets.shared.resizable_set import OwnSet
from robench_builtins.datasets.shared.stratified_splits import share_of

if TYPE_CHECKING:
    from robench import Examples, Split
    from robench_builtins.datasets.shared.folder_walk import ClassFolders

#: Class folder -> its image files, both in byte order.
Tree = dict[str, list[Path]]

#: Some of the files that count, for a sentence.
USUAL = ".jpg, .png, .tif, .webp and whatever else Pillow reads"


@dataclass(frozen=True)
class Layout:
    """Hold the classes from which splits are cut, the splits with folders of their own, and all that was walked."""

    cut: Tree
    parts: Mapping[str, Tree]
    walked: tuple[ClassFolders, ...]


class ImageFolder(OwnSet):
    """Serve your own photos: a folder with one subfolder a class.

    Classes come in byte-sorted folder order, as torchvision numbers them (``10`` before ``2``); ``_`` and ``-`` in a
    folder's name become spaces in its prompt. Images below a class folder count at any depth and with any extension
    that Pillow reads, in any case; what is hidden, no regular file or a link back does not, and is counted. They are
    served upright (EXIF) and on white. Splits are drawn per class and seeded. If there are train/ and test/ (or val/)
    subfolders with the same classes, those are the splits: with val/ alone, as in ImageNet, it is the test split and a
    new val is cut from train.
    """

    name = "imagefolder"
    version = 2
    source = "the user's own images"
    licence = "the images' own"
    templates: ClassVar[tuple[str, ...]] = (
        "a photo of a {}",
        "a close-up photo of a {}",
        "a blurry photo of a {}",
        "a picture of a {}",
    )

    #: The word before the colon of the shorthand.
    typed: ClassVar[str] = "folder"

    path: str = parameter(default="", help="the folder of class folders", path=True)
    size: int = parameter(default=224, help="side in pixels to which the images are resized and cropped", minimum=8)
    split_seed: int = parameter(default=0, help="seed that cuts the splits", minimum=0)
    test: float = parameter(
        default=0.2, help="share of each class for test, where there is no test folder", minimum=0, maximum=1
    )
    val: float = parameter(
        default=0.1,
        help="share of each class for val, as far as test leaves it, where there is no val folder",
        minimum=0,
        maximum=1,
    )

    def classes(self) -> tuple[str, ...]:
        """Return the folders' names as words, in byte order of the folders."""
        from robench_builtins.datasets.shared.folder_walk import class_name

        folders = [class_name(folder, self._root()) for folder in self._layout.cut]
        names = self.words(folders)
        for place, name in enumerate(names):
            if name in names[:place]:
                other = folders[names.index(name)]
                raise DataError(
                    f"class folders '{other}' and '{folders[place]}' in {self._root()} both read as '{name}'; "
                    "rename or merge them."
                )
        return tuple(names)

    def words(self, folders: Sequence[str]) -> list[str]:
        """Return the class folders' names as they are read in prompts."""
        return [" ".join(folder.replace("_", " ").replace("-", " ").split()) for folder in folders]

    def keeps(self, folder: str) -> bool:
        """Tell whether a class folder counts."""
        return True

    def files(self) -> tuple[Path, ...]:
        """Return the folder."""
        return (self._root(),)

    def notes(self) -> tuple[str, ...]:
        """Return what lies in the folder and does not count, in one sentence."""
        from robench_builtins.datasets.shared.folder_walk import in_words

        said = in_words(counts for walked in self._layout.walked for counts in walked.left_out.values())
        return (f"{self.name} leaves out of {self.path}: {said}.",) if said else ()

    def load(self, split: Split) -> Examples:
        """Return one split, decoded on demand."""
        from robench import Examples

        layout = self._layout
        chosen = layout.parts[split] if split in layout.parts else self._cut(layout.cut, split, layout.parts)
        pairs = [(path, label) for label, paths in enumerate(chosen.values()) for path in paths]
        if not pairs:
            raise DataError(self._empty(split))
        how = Resize(self.size, self.resize, self.resample)
        return Examples.from_files([path for path, _ in pairs], [label for _, label in pairs], how)

    def _root(self) -> Path:
        from robench_builtins.datasets.shared.folder_walk import existing_folder

        if not self.path:
            raise DataError(f"{self.name} needs the folder of class folders: pass -p dataset.path=DIR.")
        return existing_folder(self.name, self.path)

    @cached_property
    def _layout(self) -> Layout:
        """Return what lies in the folder, which is walked once."""
        from robench_builtins.datasets.shared.folder_walk import subfolders

        root = self._root()
        own = {name: root / name for name in ("train", "val", "test") if (root / name).is_dir()}
        layout = {name: folder for name, folder in own.items() if subfolders(folder)}
        if "train" not in layout or len(layout) == 1:
            found = self._walked(root, least=2)
            return Layout(found.images, {}, (found,))
        walked = {name: self._walked(folder, least=1) for name, folder in layout.items()}
        parts = {name: found.images for name, found in walked.items()}
        for name, tree in parts.items():
            odd = sorted(set(tree) ^ set(parts["train"]))
            if odd:
                raise DataError(
                    f"{layout['train']} and {layout[name]} differ in their class folders ('{odd[0]}' is in only one "
                    "of them); give both the same classes."
                )
        if "test" not in parts:
            parts["test"] = parts.pop("val")
        train = parts["train"] if "val" in parts else parts.pop("train")
        return Layout(train, parts, tuple(walked.values()))

    def _walked(self, root: Path, least: int) -> ClassFolders:
        """Return the class folders of ``root`` with their images."""
        from robench_builtins.datasets.shared.folder_walk import in_words, walk_classes

        found = walk_classes(root, self.keeps)
        if not found.images:
            raise DataError(f"{root} has no class folders; put the images into one subfolder a class.")
        if len(found.images) == 1:
            (only,) = found.images
            raise DataError(f"{root} has only one class folder, '{only}'; a classifier needs two or more.")
        for name, paths in found.images.items():
            if len(paths) < least:
                said = in_words([found.left_out[name]])
                raise DataError(
                    f"class folder {root / name} has {len(paths)} {'image' if len(paths) == 1 else 'images'} "
                    f"({USUAL}{f'; left out: {said}' if said else ''}) and needs {least} or more; add images or remove "
                    "the folder."
                )
        return found

    def _cut(self, tree: Tree, split: Split, parts: Mapping[str, Tree]) -> Tree:
        test = 0.0 if "test" in parts else self.test
        labels = [label for label, paths in enumerate(tree.values()) for _ in paths]
        files = [path for paths in tree.values() for path in paths]
        cut: list[list[Path]] = [[] for _ in tree]
        for row in share_of(labels, split, test, self.val, self.split_seed):
            cut[labels[row]].append(files[row])
        return dict(zip(tree, cut, strict=True))

    def _empty(self, split: Split) -> str:
        if split == "train":
            return (
                f"{self.name} leaves no train images of {self.path} with test={self.test:g} and val={self.val:g}; "
                "lower them with -p dataset.test=0.2 -p dataset.val=0.1 for whatever has to be trained."
            )
        share = {"test": self.test, "val": self.val}[split]
        return (
            f"{self.name} leaves no {split} images of {self.path} with {split}={share:g}; "
            f"raise it with -p dataset.{split}=0.2, or add images."
        )
