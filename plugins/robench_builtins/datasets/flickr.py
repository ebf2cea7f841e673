"""Photos and their captions from a local folder: image-to-text retrieval as a classification."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from robench import DataError, Dataset, parameter
from robench_builtins.datasets.shared.caption_files import TEST_IMAGES, Captions, find, read, within
from robench_builtins.datasets.shared.folder_walk import existing_folder, files_in, told_by_path

if TYPE_CHECKING:
    from robench import Examples, Split

#: Images that are looked for in each folder to find out which one holds them.
TRIED = 50


class Flickr(Dataset):
    """Serve Flickr8k or Flickr30k: each test image is a class of its own, and its caption is the class's name.

    So top-1 is R@1 and top-5 is R@5 of image-to-text retrieval among the captions of ``images`` images, one each;
    ``--n`` attacks fewer images, and all captions stay candidates. Read are ``captions.txt`` and ``results.csv`` as on
    Kaggle, ``Flickr8k.token.txt``, ``results_20130124.token`` and Karpathy's ``dataset_flickr30k.json`` and
    ``dataset_flickr8k.json``, of which only the test split counts (so it does where Flickr_8k.testImages.txt lies
    beside the tokens); the images may lie two folders deep. A caption that is empty, or another image's too, gives way
    to the image's next one. There is nothing to train on: train on other images, and bring the weights.
    """

    name = "flickr"
    version = 2
    victim = "clip-vit-b32"
    source = (
        "Young et al., From Image Descriptions to Visual Denotations (TACL 2014): Flickr30k; Hodosh et al., Framing "
        "Image Description as a Ranking Task (JAIR 2013): Flickr8k; splits of Karpathy and Fei-Fei (CVPR 2015)."
    )
    licence = "images: Flickr's terms of use, for non-commercial research and education"
    templates: ClassVar[tuple[str, ...]] = ("{}",)

    path: str = parameter(default="", help="the folder that holds the captions and the images' folder")
    images: int = parameter(default=1000, help="images, and so captions to choose among; or all there are", minimum=2)
    caption: int = parameter(default=0, help="which of an image's captions, from 0", minimum=0)
    size: int = parameter(default=224, help="side in pixels to which the images are resized and cropped", minimum=8)
    split_seed: int = parameter(default=0, help="seed that draws the images, where there are more", minimum=0)

    @classmethod
    def shorthand(cls, text: str) -> dict[str, str] | None:
        """Read ``flickr:DIR``."""
        word, colon, path = text.partition(":")
        return {"path": path} if colon and word == cls.name else None

    def files(self) -> tuple[Path, ...]:
        """Return the folder, the captions, and the list of test images if there is one."""
        captions = find(self._root())
        split = captions.parent / TEST_IMAGES
        return (self._root(), captions, *([split] if split.is_file() else []))

    def classes(self) -> tuple[str, ...]:
        """Return one caption of each image, in the order of the images."""
        source = find(self._root())
        captions = read(source)
        _, names = self._chosen(captions, source)
        most = max(map(len, captions.values()))
        if self.caption >= most:
            raise DataError(
                f"{source} has at most {most} {'caption' if most == 1 else 'captions'} an image, and caption="
                f"{self.caption} counts from 0; pass -p dataset.caption={most - 1} or less."
            )
        taken: set[str] = set()
        return tuple(own_caption(captions[name], self.caption, taken, name, source) for name in names)

    def load(self, split: Split) -> Examples:
        """Return the images, each with its own label, decoded on demand."""
        from robench import Examples

        if split != "test":
            raise DataError(
                "flickr has no images to train on: each caption names one test image. Train on other photos "
                "(--dataset imagenet or imagefolder), and bring the weights: --defense none -p victim.checkpoint=DIR."
            )
        source = find(self._root())
        folder, names = self._chosen(read(source), source)
        return Examples.from_files([folder / name for name in names], range(len(names)), self.size)

    def _root(self) -> Path:
        if not self.path:
            raise DataError(
                "flickr needs the folder of Flickr8k or Flickr30k, which cannot be downloaded freely: pass "
                "-p dataset.path=DIR."
            )
        return existing_folder(self.name, self.path)

    def _chosen(self, captions: Captions, source: Path) -> tuple[Path, list[str]]:
        """Return the folder of the images and the file names of those that are served, in byte order."""
        folder = self._folder(list(captions), source)
        there = {file.name for file in files_in(folder)}
        known = sorted(captions, key=str.encode)
        found = [name for name in known if name in there]
        # Captions of a few images that nobody has are in circulation; a gallery must not shrink unseen by a download.
        if len(found) < min(self.images, len(known)) or len(found) < 2:
            missing = next((name for name in known if name not in there), "")
            raise DataError(
                f"flickr found {len(found)} of the {len(known)} images that {source} names in {folder}"
                f"{f' ({missing} is missing)' if missing else ''}; complete them"
                f"{f', or pass -p dataset.images={len(found)} for those' if len(found) > 1 else ': it needs two'}."
            )
        random.Random(f"{self.split_seed}/flickr").shuffle(found)
        return folder, sorted(found[: self.images], key=str.encode)

    def _folder(self, names: Sequence[str], source: Path) -> Path:
        """Return the nearest folder that holds some of the images."""
        tried = names[:: max(1, len(names) // TRIED)]
        for folder in within(self._root(), 2):
            with told_by_path(folder):
                if any("/" not in name and (folder / name).is_file() for name in tried):
                    return folder
        raise DataError(
            f"flickr found none of the images that {source} names, such as {names[0]}, in {self._root()} or up to two "
            "folders deep in it; put the images' folder there."
        )


def own_caption(captions: Sequence[str], first: int, taken: set[str], name: str, source: Path) -> str:
    """Return the first caption from number ``first`` on, and around, that says something no other image's says.

    Letters and digits are compared, whatever their case; ``taken`` gains those of the result.
    """
    start = first % len(captions)
    for caption in [*captions[start:], *captions[:start]]:
        letters = "".join(filter(str.isalnum, caption.casefold()))
        if letters and letters not in taken:
            taken.add(letters)
            return " ".join(caption.split())
    raise DataError(
        f"image {name} has no caption of its own in {source}: all are empty or another image's. Give it one, or remove "
        "its lines."
    )
