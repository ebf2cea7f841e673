"""Folders of photos: classes, splits and the sentences for folders that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robench import DataError
from robench_builtins.datasets.imagefolder import ImageFolder


def fill(folder: Path, count: int, suffixes: tuple[str, ...] = (".png",), start: int = 0) -> Path:
    """Write ``count`` images, each of another colour (Zebra, b_dog and a-cat differ too), with the suffixes in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        colour = (number % 256, sum(folder.name.encode()) % 256, sum(folder.parent.name.encode()) % 256)
        pixels = np.full((12, 10, 3), colour, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}{suffixes[number % len(suffixes)]}")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name, count in (("b_dog", 20), ("Zebra", 30), ("a-cat", 10)):
        fill(root / name, count)
    return root


def serve(root: Path, **parameters: object) -> ImageFolder:
    return ImageFolder(path=str(root), **{"size": 8, **parameters})  # type: ignore[arg-type]


def counts(dataset: ImageFolder) -> dict[str, list[int]]:
    return {split: dataset.load(split).labels.bincount().tolist() for split in ("train", "val", "test")}


def test_classes_come_in_byte_order_and_read_as_words(photos: Path) -> None:
    assert serve(photos).classes() == ("Zebra", "a cat", "b dog")


def test_the_tomato_folders_sort_as_torchvision_numbers_them(kit: Path) -> None:
    names = serve(kit / "plantvillage-tomato").classes()
    assert names[0] == "Tomato Bacterial spot"
    assert names[6] == "Tomato Target Spot"
    assert names[-1] == "Tomato healthy"


def test_split_folders_are_the_splits_whatever_the_case_of_the_extensions(kit: Path) -> None:
    tomato = serve(kit / "plantvillage-tomato")
    assert counts(tomato) == {"train": [36] * 10, "val": [4] * 10, "test": [20] * 10}


def test_fractions_hold_in_every_class(photos: Path) -> None:
    assert counts(serve(photos)) == {"train": [21, 7, 14], "val": [3, 1, 2], "test": [6, 2, 4]}


def test_splits_are_disjoint_seeded_and_together_the_whole(photos: Path) -> None:
    def images(seed: int) -> list[set[bytes]]:
        data = serve(photos, split_seed=seed)
        return [{image.numpy().tobytes() for image in data.load(part).images()} for part in ("train", "val", "test")]

    first = images(0)
    assert len(set().union(*first)) == sum(map(len, first)) == 60
    assert first == images(0)
    assert first != images(1)


def test_every_common_extension_counts_in_any_case_at_any_depth(tmp_path: Path) -> None:
    for name in "ab":
        fill(tmp_path / name / "deep", 4, (".JPG", ".jpeg", ".Png", ".webp"))
        fill(tmp_path / name, 4, (".bmp", ".gif", ".TIFF", ".ppm"))
        (tmp_path / name / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    assert counts(serve(tmp_path))["test"] == [2, 2]
    assert len(serve(tmp_path, test=1.0).load("test")) == 16


def test_two_images_a_class_are_one_for_test_and_one_for_train(tmp_path: Path) -> None:
    for name in "ab":
        fill(tmp_path / name, 2)
    data = serve(tmp_path)
    assert len(data.load("test")) == len(data.load("train")) == 2
    with pytest.raises(DataError, match=r"leaves no val images of \S+ with val=0.1; raise it with -p dataset.val"):
        data.load("val")


def test_everything_may_be_test_and_then_train_says_so(photos: Path) -> None:
    data = serve(photos, test=1.0)
    assert len(data.load("test")) == 60
    with pytest.raises(DataError, match=r"leaves no train images of \S+ with test=1 and val=0.1; lower them with -p"):
        data.load("train")


def test_no_test_share_says_so(photos: Path) -> None:
    with pytest.raises(DataError, match="leaves no test images"):
        serve(photos, test=0.0).load("test")


def test_three_split_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    for split, count in (("train", 5), ("val", 1), ("test", 2)):
        for name in ("x", "y"):
            fill(tmp_path / split / name, count)
    assert counts(serve(tmp_path)) == {"train": [5, 5], "val": [1, 1], "test": [2, 2]}


def test_val_alone_is_the_test_split_as_in_imagenet(tmp_path: Path) -> None:
    for split, count in (("train", 10), ("val", 3)):
        for name in ("x", "y"):
            fill(tmp_path / split / name, count)
    assert counts(serve(tmp_path)) == {"train": [9, 9], "val": [1, 1], "test": [3, 3]}


def test_split_folders_must_agree_on_the_classes(tmp_path: Path) -> None:
    for place in ("train/x", "train/y", "test/x", "test/z"):
        fill(tmp_path / place, 2)
    with pytest.raises(DataError, match=r"train and \S+test differ in their class folders \('y' is in only one"):
        serve(tmp_path).classes()


def test_classes_called_train_and_test_are_classes(tmp_path: Path) -> None:
    for name in ("train", "test"):
        fill(tmp_path / name, 2)
    assert serve(tmp_path).classes() == ("test", "train")


def test_no_path_asks_for_one() -> None:
    with pytest.raises(DataError, match=r"^imagefolder needs the folder of class folders: pass -p dataset.path=DIR\.$"):
        ImageFolder().classes()


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^imagefolder found no folder at \S+nowhere; pass -p dataset.path=DIR"):
        serve(tmp_path / "nowhere").load("test")


def test_an_empty_folder_has_no_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no class folders; put the images into one subfolder a class\.$"):
        serve(tmp_path).load("test")


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    fill(tmp_path / "only", 3)
    with pytest.raises(DataError, match=r"has only one class folder, 'only'; a classifier needs two or more\.$"):
        serve(tmp_path).load("test")


def test_a_class_with_one_image_is_named_with_the_way_out(tmp_path: Path) -> None:
    fill(tmp_path / "many", 3)
    fill(tmp_path / "single", 1)
    with pytest.raises(DataError, match=r"single has 1 image \(.*\) and needs 2 or more; add images or remove"):
        serve(tmp_path).load("test")


def test_names_that_read_alike_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "red_fox", 2)
    fill(tmp_path / "red-fox", 2)
    with pytest.raises(DataError, match=r"'red-fox' and 'red_fox' in \S+ both read as 'red fox'; rename or merge"):
        serve(tmp_path).classes()


def test_the_fingerprint_depends_on_the_folder_and_the_origin_on_the_user(photos: Path) -> None:
    assert serve(photos).files() == (photos,)
    assert serve(photos).origin() == "imagefolder"
    assert serve(photos, origin_name="cifar10").origin() == "cifar10"


def test_images_are_served_at_the_asked_size(photos: Path) -> None:
    assert serve(photos, size=16).load("val").images().shape == (6, 3, 16, 16)
