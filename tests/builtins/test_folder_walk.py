"""Folders of class folders: walked once, regular files only, nothing hidden; what is left out is counted and said."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from robench import DataError
from robench_builtins.datasets.imagefolder import ImageFolder
from robench_builtins.datasets.imagenet import ImageNet
from robench_builtins.datasets.plantvillage import PlantVillage
from robench_builtins.datasets.shared import folder_walk

from ..odd_images import pixels, stored, turned


def fill(folder: Path, count: int, suffix: str = ".png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number:04}{suffix}").write_bytes(stored(pixels([[[number % 256, number // 256, 7]]])))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of three classes with 15 images each."""
    for name in ("cat", "dog", "fox"):
        fill(tmp_path / "photos" / name, 15)
    return tmp_path / "photos"


def whole(root: Path) -> ImageFolder:
    return ImageFolder(path=str(root), size=8, test=1.0)


def count(root: Path) -> int:
    return len(whole(root).load("test"))


def test_a_notebooks_checkpoints_do_not_count(tmp_path: Path) -> None:
    for name, images in (("cat", 200), ("dog", 223)):
        fill(tmp_path / "photos" / name, images)
        fill(tmp_path / "photos" / name / ".ipynb_checkpoints", images - 19)
    assert count(tmp_path / "photos") == 423
    assert whole(tmp_path / "photos").notes() == (f"imagefolder leaves out of {tmp_path / 'photos'}: 385 hidden.",)


def test_a_link_to_its_own_class_does_not_multiply_it(photos: Path) -> None:
    assert count(photos) == 45
    for name in ("cat", "dog", "fox"):
        (photos / name / "again").symlink_to(photos / name)
        (photos / name / "deeper").mkdir()
        (photos / name / "deeper" / "up").symlink_to("../..")
    (photos / "cat" / "others").symlink_to(photos / "dog")
    (photos / "cat" / "everything").symlink_to("/")
    (photos / "itself").symlink_to(photos)
    (photos / "above").symlink_to(photos.parent)
    assert count(photos) == 45
    assert whole(photos).classes() == ("cat", "dog", "fox")
    assert "10 links back" in whole(photos).notes()[0]


def test_links_to_photos_elsewhere_are_followed_once(photos: Path, tmp_path: Path) -> None:
    store = fill(tmp_path / "store", 4)
    (photos / "cat" / "more").symlink_to(store)
    (photos / "cat" / "more-again").symlink_to(store)
    (photos / "dog" / "one.png").symlink_to(store / "0001.png")
    (photos / "dog" / "twice.png").symlink_to(photos / "dog" / "0001.png")
    assert whole(photos).load("test").labels.bincount().tolist() == [19, 16, 15]
    assert whole(photos).notes()[0].endswith(": 2 links back.")


def test_a_link_to_an_image_that_is_gone_is_named(photos: Path) -> None:
    (photos / "dog" / "lost.jpg").symlink_to(photos / "nowhere.jpg")
    with pytest.raises(DataError, match=r"^image \S+lost\.jpg is a link to what is not there; bring that back, or rem"):
        count(photos)


def test_two_classes_that_are_one_by_a_link_are_named(photos: Path) -> None:
    (photos / "wolf").symlink_to(photos / "dog")
    with pytest.raises(DataError, match=r"^class folders \S+dog and \S+wolf are one by a link; remove one of them\.$"):
        count(photos)


def test_what_is_no_regular_file_is_counted_and_not_waited_for(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(photos / "cat" / "pipe.png")
    (photos / "cat" / "device.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(photos / "dog")  # a socket's path may not be long
        listener.bind("socket.png")
    assert count(photos) == 45
    assert whole(photos).notes()[0].endswith(": 3 no regular file.")


def test_every_litter_is_hidden_at_every_depth(photos: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (photos / "cat" / name).write_bytes(b"x")
    fill(photos / "cat" / "deep" / "__MACOSX", 2)
    fill(photos / "dog" / "@eaDir", 3)
    fill(photos / "__MACOSX" / "cat", 4)
    fill(photos / ".git", 1)
    assert count(photos) == 45
    assert whole(photos).classes() == ("cat", "dog", "fox")
    assert whole(photos).notes()[0].endswith(": 13 hidden.")


def test_what_was_left_out_is_said_by_suffix(photos: Path) -> None:
    for name in ("a.txt", "b.TXT", "c.heic", "noname", "d.this is no suffix"):
        (photos / "fox" / name).write_bytes(b"x")
    (photos / "loose.jpg").write_bytes(b"x")
    (photos / "readme.md").write_bytes(b"x")
    assert whole(photos).notes() == (
        f"imagefolder leaves out of {photos}: 2 .txt, 2 of no known suffix, 1 .heic, 1 beside the class folders.",
    )


def test_a_class_of_files_that_are_not_read_says_which_those_are(photos: Path) -> None:
    for number in range(3):
        (fill(photos / "yak", 0) / f"{number}.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"yak has 0 images \(.*; left out: 3 \.heic\) and needs 2 or more; add images"):
        count(photos)


@pytest.mark.parametrize("suffix", [".jfif", ".JPE", ".jp2", ".j2k", ".avif", ".WebP", ".tiff", ".ppm", ".qoi", ".ico"])
def test_every_suffix_that_pillow_decodes_counts(suffix: str, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        fill(tmp_path / name, 3, suffix)
    assert count(tmp_path) == 6


def test_classes_are_in_byte_order_as_torchvision_numbers_them(tmp_path: Path) -> None:
    from torchvision.datasets.folder import find_classes

    for name in ("10", "2", "1", "Zebra", "apple", "\u00e9clair"):
        fill(tmp_path / name, 2)
    wanted, _ = find_classes(tmp_path)
    assert list(whole(tmp_path).classes()) == wanted == ["1", "10", "2", "Zebra", "apple", "\u00e9clair"]


def test_file_names_of_other_bytes_are_read_and_class_names_refused(photos: Path) -> None:
    odd = os.fsencode(photos / "cat") + b"/caf\xe9.png"
    os.rename(photos / "cat" / "0000.png", odd)
    assert count(photos) == 45
    whole(photos).load("test").images()
    os.rename(photos / "cat", os.fsencode(photos) + b"/caf\xe9")
    with pytest.raises(DataError, match=r"^class folder 'caf\\xe9' in \S+ has a name that is not UTF-8, which no prom"):
        whole(photos).classes()


@pytest.mark.parametrize("place", ["/", "/proc", "/proc/self", "/sys"])
@pytest.mark.parametrize("kind", [ImageFolder, ImageNet, PlantVillage])
def test_the_systems_own_folders_are_refused(place: str, kind: type[ImageFolder]) -> None:
    with pytest.raises(DataError, match=rf"^{kind.name} takes no images from {place}, the system's own; pass -p dat"):
        kind(path=place).files()


def test_a_folder_that_may_not_be_read_is_named(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def refuse(place: object) -> object:
        if str(place).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(place))
        return real(place)  # type: ignore[call-overload]

    monkeypatch.setattr(folder_walk.os, "scandir", refuse)
    with pytest.raises(DataError, match=r"^\S+/photos/dog cannot be read \(Permission denied\); mend its permissions"):
        count(photos)


def test_two_hundred_photos_are_the_same_upright_and_as_a_phone_stores_them(tmp_path: Path) -> None:
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("china.jpg")
    for row in range(200):
        picture = pixels(photo[row : row + 24, row * 2 : row * 2 + 36])
        for name, orientation in (("upright", 1), ("phone", 1 + row % 8)):
            folder = tmp_path / name / ("cat", "dog")[row % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{row:03}.png").write_bytes(turned(picture, orientation))
    upright, phone = (whole(tmp_path / name).load("test") for name in ("upright", "phone"))
    assert len(phone) == 200
    assert upright.images().equal(phone.images())
    assert upright.fingerprint != phone.fingerprint  # the files differ


def test_balance_names_the_class(tmp_path: Path) -> None:
    for name in ("Tomato_healthy", "Tomato_Leaf_Mold"):
        fill(tmp_path / name, 3)
    data = PlantVillage(path=str(tmp_path), size=8, balance=99, test=0.34, val=0.0)
    with pytest.raises(DataError, match=r"^plantvillage has 2 train images of 'tomato leaf mold', which turned and"):
        data.load("train")


def test_the_folder_is_walked_once(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = os.scandir

    def counted(place: object) -> object:
        seen.append(str(place))
        return real(place)  # type: ignore[call-overload]

    monkeypatch.setattr(folder_walk.os, "scandir", counted)
    data = whole(photos)
    _ = data.classes(), data.load("test"), data.notes()
    assert [seen.count(str(photos / name)) for name in ("cat", "dog", "fox")] == [1, 1, 1]
