"""``robench data``: the images of each class before and after balancing, and the pictures, pixel by pixel."""

from __future__ import annotations

import csv
import re
import sys

import numpy as np
import pytest
from PIL import Image

from robench.cli import main
from robench.cli.contact_sheet import GAP, LEAST, LINE

from ..odd_images import pixels, stored

#: Folder -> its images: of a tenth each for val and a fifth for test, so many are left to train on.
COUNTS = {"Tomato_healthy": 20, "Tomato__Tomato_mosaic_virus": 10}
FILLED = ("-p", "dataset.crop=tomato", "-p", "dataset.size=8")
BALANCED = (*FILLED, "-p", "dataset.balance=16")


@pytest.fixture
def say(monkeypatch, capsys, tmp_path):
    """Return a function that runs ``robench data`` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["robench", "data", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        done = capsys.readouterr()
        return stopped.value.code or 0, done.out, done.err

    return run


@pytest.fixture
def leaves(tmp_path):
    """Return a folder of tomato leaves, each class of one shade, one class half as large as the other."""
    root = tmp_path / "leaves"
    for shade, (name, count) in enumerate(COUNTS.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number:02d}.png").write_bytes(stored(pixels(np.full((8, 8, 3), 40 + 100 * shade))))
    return root


def made(folder, ending):
    """Return the one file in a folder whose name has that end."""
    (path,) = folder.glob(f"*-{ending}")
    return path


def test_classes_are_counted_before_and_after_balancing(say, leaves):
    code, out, _ = say("plantvillage", "-p", f"dataset.path={leaves}", *BALANCED, "-o", "pictures")
    assert code == 0
    rows = list(csv.reader(made(leaves.parent / "pictures", "class-balance.csv").read_text().splitlines()))
    assert rows == [
        ["label", "class", "train before", "train", "val", "test"],
        ["0", "tomato mosaic virus", "7", "16", "1", "2"],
        ["1", "tomato healthy", "14", "16", "2", "4"],
    ]
    said = [" ".join(line.split()) for line in out.splitlines()]
    assert "0 tomato mosaic virus 7 16 1 2 ████████████████████████" in said
    assert "all 21 32 3 6" in said
    assert "train before: 7 to 14 images a class; the largest has 2.00 times the images of the smallest" in said
    assert "train: 16 images in every class" in said


def test_the_chart_has_a_bar_for_each_class_before_and_after(say, leaves):
    assert say("plantvillage", "-p", f"dataset.path={leaves}", *BALANCED, "-o", "pictures")[0] == 0
    drawn = made(leaves.parent / "pictures", "class-balance.svg").read_text(encoding="utf-8")
    bars = re.findall(r'<path d="[^"]*" clip-path=', drawn)
    assert len(bars) == 4  # two classes, before and after
    assert made(leaves.parent / "pictures", "class-balance.png").read_bytes().startswith(b"\x89PNG")


def test_one_of_each_class_is_shown(say, leaves):
    assert say("plantvillage", "-p", f"dataset.path={leaves}", "-p", "dataset.size=8", "-o", "pictures")[0] == 0
    with Image.open(made(leaves.parent / "pictures", "one-of-each.png")) as picture:
        sheet = np.asarray(picture)
    top, step = LINE + 2 * GAP, 2 * LEAST + GAP
    assert [int(sheet[top + 5, GAP + place * step + 5, 0]) for place in range(2)] == [140, 40]


def test_copies_stand_beside_their_image(say, leaves):
    """Turned copies of one shade are that shade; with holes they have grey in them. One class needs no copy."""
    words = ("plantvillage", "-p", f"dataset.path={leaves}", *FILLED, "-p", "dataset.balance=14")
    code, out, err = say(*words, "-p", "dataset.augment=report-vit", "-o", "pictures")
    assert code == 0, err
    assert "copies.png" in out
    with Image.open(made(leaves.parent / "pictures", "copies.png")) as picture:
        sheet = np.asarray(picture)
    # 7 of 14: the image and its one copy, in one row.
    assert sheet.shape[:2] == (LEAST + 2 * LINE + 2 + GAP + LINE + 2 * GAP, 2 * (2 * LEAST + GAP) + GAP)
    top, step = LINE + 2 * GAP, 2 * LEAST + GAP
    first, copy = (sheet[top : top + LEAST, GAP + place * step : GAP + place * step + LEAST] for place in range(2))
    assert (first == 140).all()
    assert not np.array_equal(first, copy)
    assert say("digits", "-o", "plain")[0] == 0
    assert not [*(leaves.parent / "plain").glob("*copies*")]


def test_every_class_that_was_filled_up_has_its_own_copies(say, leaves):
    assert say("plantvillage", "-p", f"dataset.path={leaves}", *FILLED, "-p", "dataset.balance=30", "-o", "p")[0] == 0
    with Image.open(made(leaves.parent / "p", "copies.png")) as picture:
        sheet = np.asarray(picture)
    top, across, down = LINE + 2 * GAP, 2 * LEAST + GAP, LEAST + 2 * LINE + 2 + GAP
    shades = [[int(sheet[top + row * down + 5, GAP + place * across + 5, 0]) for place in range(5)] for row in range(2)]
    # 30 of 7 are an image and 4 copies (4 * 7 + 2); 30 of 14 an image and 2; beyond them is paper.
    assert shades == [[140] * 5, [40] * 3 + [245] * 2]


def test_five_samples_are_drawn_by_the_seed(say, tmp_path):
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert say("digits", "--seed", seed, "-o", folder)[0] == 0
    drawn = {name: made(tmp_path / name, "random-seed?.png").read_bytes() for name in "abc"}
    assert drawn["a"] == drawn["b"] != drawn["c"]
    with Image.open(tmp_path / "a" / "digits-random-seed1.png") as sheet:
        assert sheet.width == 5 * (2 * LEAST + GAP) + GAP


def test_no_dataset_takes_the_files_of_another(say, leaves, tmp_path):
    """Another data set, other parameters, other images under one name and another seed have names of their own."""
    folder, seen = tmp_path / "pictures", {}
    plant = ("plantvillage", "-p", f"dataset.path={leaves}", *FILLED)
    for words in (("digits",), ("digits[classes=0-4]",), plant, (*plant, "-p", "dataset.balance=30"), ("digits",)):
        assert say(*words, "-o", "pictures")[0] == 0
        assert {path: path.read_bytes() for path in seen} == seen
        seen = {path: path.read_bytes() for path in folder.iterdir()}
    kinds = ("class-balance.csv", "class-balance.png", "class-balance.svg", "one-of-each.png", "random-seed0.png")
    assert {f"digits-{kind}" for kind in kinds} <= {path.name for path in seen}
    assert len(seen) == 4 * len(kinds) + 1  # one has copies
    assert say("digits", "--seed", 7, "-o", "pictures")[0] == 0
    assert {path.name for path in folder.iterdir()} - {path.name for path in seen} == {"digits-random-seed7.png"}
    (leaves / "Tomato_healthy" / "00.png").unlink()
    assert say(*plant, "-o", "pictures")[0] == 0
    assert {path: path.read_bytes() for path in seen} == seen


def test_without_out_nothing_is_written(say, tmp_path):
    code, out, _ = say("digits[classes=0-4]")
    assert code == 0
    assert "4 four 111 20 50" in " ".join(out.split())
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_way_out_is_said(say, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = say("digits", "-o", "pictures")
    assert code == 2
    assert "pip install 'robench[figures]'" in err
