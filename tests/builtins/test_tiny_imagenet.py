"""Tiny ImageNet in the layout of its zip, with val as it comes and sorted, whole, damaged and hostile."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robench import DataError
from robench.testing import check_component
from robench_builtins.datasets.tiny_imagenet import TinyImageNet

from .torchvision_layouts import put

#: As in wnids.txt: not in order.
WNIDS = ("n02124075", "n01443537", "n04067472")
WORDS = "n00001740\tentity\nn02124075\tEgyptian cat\nn01443537\tgoldfish, a carp\nn04067472\treel\nn1\treel\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the folder that holds tiny-imagenet-200 with three classes."""
    tiny = tmp_path / "tiny-imagenet-200"
    lines = []
    for number, wnid in enumerate(WNIDS):
        for row in range(10):
            put(tiny / "train" / wnid / "images" / f"{wnid}_{row}.JPEG", 100 * number + row, (64, 64))
        (tiny / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t63\t63\n")
    for row in range(6):
        put(tiny / "val" / "images" / f"val_{row}.JPEG", 1000 + row, (64, 64))
        lines.append(f"val_{row}.JPEG\t{WNIDS[row % 3]}\t0\t0\t63\t63\n")
    put(tiny / "test" / "images" / "test_0.JPEG", 2000, (64, 64))
    (tiny / "val" / "val_annotations.txt").write_text("".join(lines))
    (tiny / "wnids.txt").write_text("\n".join(WNIDS))
    (tiny / "words.txt").write_text(WORDS)
    return tmp_path


def test_parts_labels_and_names_are_those_of_the_zip(root: Path) -> None:
    data = TinyImageNet(path=str(root))
    assert data.classes() == ("goldfish", "Egyptian cat", "reel")
    test = data.load("test")
    assert (test.shape, test.labels.tolist()) == ((3, 64, 64), [1, 0, 2, 1, 0, 2])
    assert [len(data.load(split)) for split in ("train", "val")] == [27, 3]
    assert TinyImageNet(path=str(root), spelling="refined").classes()[1] == "egyptian cat"
    assert TinyImageNet(path=str(root), size=32).load("test").shape == (3, 32, 32)
    assert TinyImageNet(path=str(root / "tiny-imagenet-200")).load("test").fingerprint == test.fingerprint
    assert data.missing() == ()


def test_a_sorted_val_serves_the_same_images(root: Path) -> None:
    place, test = root / "tiny-imagenet-200/val", TinyImageNet(path=str(root)).load("test")
    wanted, order = test.images(), test.labels.argsort(stable=True)
    for line in (place / "val_annotations.txt").read_text().splitlines():
        name, wnid = line.split("\t")[:2]
        (place / wnid).mkdir(exist_ok=True)
        (place / "images" / name).rename(place / wnid / name)
    (place / "val_annotations.txt").unlink()
    (place / "images").rmdir()
    found = TinyImageNet(path=str(root)).load("test")
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.images().equal(wanted[order])


def test_it_conforms(root: Path) -> None:
    results = check_component(TinyImageNet(path=str(root)))
    assert {result.name: result.sentence for result in results if result.status != "passed"} == {}


def test_what_is_not_there_is_told_with_its_place(tmp_path: Path) -> None:
    data = TinyImageNet(path=str(tmp_path))
    (sentence,) = data.missing()
    assert sentence == (
        "tiny-imagenet (240 MB) has to be downloaded by hand: unpack http://cs231n.stanford.edu/tiny-imagenet-200.zip "
        f"so that {tmp_path}/tiny-imagenet-200/wnids.txt is there, or pass -p tiny-imagenet.path=DIR."
    )
    with pytest.raises(DataError) as caught:
        data.load("test")
    assert str(caught.value) == sentence


def write(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda tiny: (tiny / name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (write("wnids.txt", b"cat\ndog"), "holds 'cat', which is no wnid"),
        (write("wnids.txt", b"n02124075\nn02124075"), "does not list each class once"),
        (write("wnids.txt", b"\xff\xfe"), "cannot read"),
        (write("words.txt", b"n01443537\tgoldfish"), "does not name n02124075"),
        (write("words.txt", b"nothing"), "found no wnid"),
        (lambda tiny: (tiny / "words.txt").unlink(), "words.txt (no file of at most"),
        (write("val/val_annotations.txt", b"val_0.JPEG\tn00000000\t0"), "which is no image of a class"),
        (write("val/val_annotations.txt", b"val_0.JPEG"), "which is no image of a class"),
        (write("val/val_annotations.txt", b"../../x.JPEG\tn02124075"), "holds '../../x.JPEG"),
        (write("val/val_annotations.txt", b"/etc/passwd\tn02124075"), "holds '/etc/passwd"),
        (write("val/val_annotations.txt", b"..\\x.JPEG\tn02124075"), "which is no image of a class"),
        (write("val/val_annotations.txt", b"..\tn02124075"), "which is no image of a class"),
        (write("val/val_annotations.txt", b"gone.JPEG\tn02124075"), "gone.JPEG cannot be read"),
        (lambda tiny: shutil.rmtree(tiny / "train/n02124075"), "n02124075 has no images"),
        (lambda tiny: shutil.rmtree(tiny / "train"), "found no folder at"),
    ],
)
def test_damaged_and_hostile_copies_are_refused(damage: Callable[[Path], Any], says: str, root: Path) -> None:
    damage(root / "tiny-imagenet-200")
    data = TinyImageNet(path=str(root))
    with pytest.raises(DataError) as caught:
        data.classes(), data.load("test").images(), data.load("train")
    assert says in str(caught.value)
