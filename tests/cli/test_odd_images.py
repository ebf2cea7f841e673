"""Odd inputs on the command line: an exact value, or one sentence with exit code 2; never a traceback or a hang."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robench.cli import main

from ..odd_images import animated, pixels, png, stored, tiff, turned

FLAT = pixels(np.full((8, 8, 3), 51))
PLAIN = stored(FLAT)
NOISE = stored(pixels(np.random.default_rng(0).integers(0, 256, (9, 99, 3))))
CLEAR = Image.new("RGBA", (8, 8), (0, 0, 0, 0))

#: One file in a class of files -> the average that inspect states for a folder of such files alone, in [0, 1].
VALUES: dict[str, tuple[bytes, str]] = {
    "8-bit RGB": (PLAIN, "0.200"),
    "8-bit grey": (stored(pixels(np.full((8, 8), 51))), "0.200"),
    "16-bit PNG": (stored(pixels(np.full((8, 8), 13107), "uint16")), "0.200"),
    "16-bit TIFF": (stored(pixels(np.full((8, 8), 13107), "uint16"), "TIFF"), "0.200"),
    "16-bit big-endian TIFF": (stored(pixels(np.full((8, 8), 13107), ">u2"), "TIFF"), "0.200"),
    "16-bit PGM": (stored(pixels(np.full((8, 8), 13107), "uint16"), "PPM"), "0.200"),
    "16-bit RGB PNG": (png(1, 1, 16, 2, [struct.pack(">3H", 13107, 13107, 13107)]), "0.200"),
    "12-bit TIFF": (tiff(2, 1, 12, 1, bytes([0x33, 0x33, 0x33])), "0.200"),
    "8-bit values in 32 bits": (stored(pixels(np.full((8, 8), 51), "int32"), "TIFF"), "0.200"),
    "floats in [0, 1]": (stored(pixels(np.full((8, 8), 0.2), "float32"), "TIFF"), "0.200"),
    "TIFF, zero for white": (tiff(2, 1, 16, 0, struct.pack("<2H", 13107, 13107)), "0.800"),
    "black, transparent": (stored(CLEAR), "1.000"),
    "black, transparent, WebP": (stored(CLEAR, "WEBP", lossless=True), "1.000"),
    "black, half transparent": (stored(Image.new("RGBA", (8, 8), (0, 0, 0, 204))), "0.200"),
    "grey, half transparent": (stored(Image.new("LA", (8, 8), (0, 204))), "0.200"),
    "transparent palette": (stored(Image.new("P", (8, 8), 1), "GIF", transparency=1), "1.000"),
    "CMYK": (stored(Image.new("CMYK", (8, 8), (204, 204, 204, 0)), "TIFF"), "0.200"),
    "1 bit": (stored(Image.new("1", (8, 8), 1)), "1.000"),
    "animated GIF, red first": (animated("GIF"), "0.333"),
    "animated PNG, red first": (animated("PNG"), "0.333"),
    "TIFF pages, red first": (animated("TIFF"), "0.333"),
    "turned by EXIF": (turned(FLAT, 6), "0.200"),
    "damaged EXIF": (stored(FLAT, exif=b"Exif\0\0MM\0*\0\0\xff\xff"), "0.200"),
}

#: One file among good ones -> part of the sentence about it.
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "cannot be decoded (it is empty); replace or remove the file."),
    "text": (b"hello", "cannot be decoded (its content is no image of a format that is read here)"),
    "html": (b"<!DOCTYPE html><html>", "its content is no image of a format that is read here"),
    "zip": (b"PK\3\4" + bytes(99), "its content is no image of a format that is read here"),
    "npy": (b"\x93NUMPY\1\0" + bytes(99), "its content is no image of a format that is read here"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "its content is no image of a format that is read here"),
    "pdf": (b"%PDF-1.7\n", "its content is no image of a format that is read here"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image of a format that is read here"),
    "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull fetches the image"),
    "PNG head alone": (PLAIN[:33], "cannot be decoded ("),
    "PNG cut short": (
        stored(pixels(np.random.default_rng(0).integers(0, 256, (9, 99, 3))))[:99],
        "cannot be decoded (",
    ),
    "PNG with a broken chunk": (PLAIN.replace(b"IDAT", b"IDAX"), "cannot be decoded ("),
    "PNG with a broken sum": (PLAIN[:30] + b"\0\0\0" + PLAIN[33:], "cannot be decoded ("),
    "PNG of no size": (png(0, 0, 8, 2, []), "cannot be decoded ("),
    "PPM with words": (b"P3\n2 1\n255\none two three", "cannot be decoded ("),
    "PPM without pixels": (b"P6\n5 5\n255\n", "cannot be decoded ("),
    "PPM of negative size": (b"P6\n-5 5\n255\n", "cannot be decoded ("),
    "PGM with an odd maximum": (b"P5\n2 2\n99999999\n1234", "cannot be decoded ("),
    "JPEG cut short": (stored(FLAT, "JPEG")[:200], "cannot be decoded ("),
    "JPEG head alone": (b"\xff\xd8\xff", "cannot be decoded ("),
    "GIF cut short": (stored(FLAT, "GIF")[:15], "cannot be decoded ("),
    "BMP cut short": (stored(FLAT, "BMP")[:60], "cannot be decoded ("),
    "TIFF cut short": (stored(FLAT, "TIFF")[:40], "cannot be decoded ("),
    "WebP cut short": (stored(FLAT, "WEBP")[:30], "cannot be decoded ("),
    "32-bit integers": (
        stored(pixels([[0, 70000]], "int32"), "TIFF"),
        "integers of 32 bits from 0 to 70000, whose",
    ),
    "negative integers": (stored(pixels([[-3, 9]], "int32"), "TIFF"), "integers of 32 bits from -3 to 9, whose range"),
    "signed 16 bits": (
        tiff(2, 1, 16, 1, struct.pack("<2h", -5, 7), 2),
        "integers of 32 bits from -5 to 7, whose",
    ),
    "floats to 255": (
        stored(pixels([[0, 255]], "float32"), "TIFF"),
        "floating-point numbers from 0 to 255, whose",
    ),
    "NaN": (stored(pixels([[0, np.nan]], "float32"), "TIFF"), "floating-point numbers from nan to nan, whose range"),
    "64-bit floats": (tiff(1, 1, 64, 1, struct.pack("<d", 1), 3), "its content is no image of a format"),
    "LAB": (stored(Image.new("LAB", (8, 8)), "TIFF"), "has pixels of mode LAB, which have no plain way to RGB"),
    "a bomb": (png(30000, 30000, 8, 0, [b"\0"]), "exceeds limit"),
}


def fill(root: Path, content: bytes = PLAIN, count: int = 3) -> Path:
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / name / f"{number}.png").write_bytes(content)
    return root


@pytest.fixture
def say(monkeypatch, capsys, tmp_path):
    """Return a function that runs the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROBENCH_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "400")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["robench", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        done = capsys.readouterr()
        assert "Traceback" not in done.out + done.err
        return stopped.value.code or 0, done.out, " ".join(done.err.split())

    return run


def look(say, root, *words):
    return say("inspect", "--dataset", f"folder:{root}", "-p", "dataset.size=8", "-p", "dataset.test=1", *words)


@pytest.mark.parametrize("case", VALUES)
def test_what_is_read_has_exactly_this_brightness(case, say, tmp_path):
    content, mean = VALUES[case]
    code, out, _ = look(say, fill(tmp_path / "photos", content))
    assert code == 0
    assert f"{mean} on average, in 6 test images" in out


@pytest.mark.parametrize("case", REFUSED)
def test_one_bad_file_is_named_in_a_sentence(case, say, tmp_path):
    content, sentence = REFUSED[case]
    root = fill(tmp_path / "photos")
    (root / "dog" / "1.png").write_bytes(content)
    code, _, said = look(say, root)
    assert code == 2
    assert f"robench: image {root}/dog/1.png " in said
    assert sentence in said
    assert said.endswith(".")
    assert "0x" not in said


def lacks(root: Path) -> None:
    for path in root.rglob("*.png"):
        path.unlink()


def nothing(root: Path) -> None:
    lacks(root)
    for name in ("cat", "dog"):
        (root / name).rmdir()


def one_class(root: Path) -> None:
    for path in (root / "dog").iterdir():
        path.unlink()
    (root / "dog").rmdir()


def file_instead(root: Path) -> None:
    nothing(root)
    root.rmdir()
    root.write_bytes(PLAIN)


def pipe_instead(root: Path) -> None:
    nothing(root)
    root.rmdir()
    os.mkfifo(root)


def loop_instead(root: Path) -> None:
    nothing(root)
    root.rmdir()
    root.symlink_to(root)


def odd_class(root: Path) -> None:
    os.rename(root / "dog", os.fsencode(root) + b"/caf\xe9")


def alike(root: Path) -> None:
    (root / "dog").rename(root / "ca_t")
    (root / "cat").rename(root / "ca-t")


def lost(root: Path) -> None:
    (root / "dog" / "x.png").symlink_to(root / "gone.png")


def linked_class(root: Path) -> None:
    (root / "wolf").symlink_to(root / "dog")


def layouts_differ(root: Path) -> None:
    for split, names in (("train", "ab"), ("test", "ac")):
        for name in names:
            (root / split / name).mkdir(parents=True)
            (root / split / name / "1.png").write_bytes(PLAIN)


#: What is done to a good folder -> part of the sentence about it.
FOLDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no images": (
        lacks,
        "cat has 0 images (.jpg, .png, .tif, .webp and whatever else Pillow reads) and needs 2",
    ),
    "no classes": (nothing, "has no class folders; put the images into one subfolder a class."),
    "one class": (one_class, "has only one class folder, 'cat'; a classifier needs two or more."),
    "a file": (file_instead, "imagefolder found no folder at "),
    "a pipe": (pipe_instead, "imagefolder found no folder at "),
    "a link to itself": (loop_instead, "imagefolder found no folder at "),
    "a class whose name is not UTF-8": (odd_class, "class folder 'caf\\xe9' in "),
    "classes that read alike": (alike, "both read as 'ca t'; rename or merge them."),
    "a link to nothing": (lost, "x.png is a link to what is not there; bring that back, or remove the link."),
    "a class by a link to another": (linked_class, "are one by a link; remove one of them."),
    "other classes in train than in test": (
        layouts_differ,
        "differ in their class folders ('b' is in only one",
    ),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_that_does_not_fit_is_a_sentence(case, say, tmp_path):
    spoil, sentence = FOLDERS[case]
    root = fill(tmp_path / "photos")
    spoil(root)
    code, _, said = look(say, root)
    assert code == 2
    assert said.startswith("robench: ")
    assert sentence in said
    assert str(root) in said


@pytest.mark.parametrize("dataset", ["folder:", "imagenet:", "plantvillage:", "flickr:", "hf:"])
@pytest.mark.parametrize("place", ["/", "/proc", "/sys"])
def test_the_systems_own_folders_are_refused(dataset, place, say):
    code, _, said = say("inspect", "--dataset", dataset + place)
    assert code == 2
    assert f"takes no images from {place}, the system's own; pass -p dataset.path=DIR with yours." in said


@pytest.mark.parametrize("dataset", ["folder:/", "hf:/", "flickr:/proc"])
def test_a_run_on_the_whole_file_system_is_refused_before_it_is_read(dataset, say):
    code, _, said = say("run", "--dataset", dataset, "--victim", "tiny-clip", "--n", "5")
    assert code == 2
    assert "the system's own; pass -p dataset.path=DIR with yours." in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("-o", "sheet.jpg"),
            "-o sheet.jpg is no PNG file, and another format would change pixels; write -o sheet.png.",
        ),
        (("-o", "bad.npz/sheet.png"), "bad.npz cannot be written (File exists); choose another folder with --out."),
        (
            ("--dataset", "folder:caf\udce9"),
            "imagefolder.path is 'caf\\udce9', which is not UTF-8 as this process reads",
        ),
        (("-p", "dataset.siez=8"), "digits has no parameter 'siez'"),
        (("-p", "victim.epochs=8"), "this run has no victim"),
        (("--dataset", "no-such"), "no-such"),
        (("--victim", "no-such"), "no-such"),
        (("--n", "0"), "--n"),
        (("--dataset", "imagenet:."), "has only one class folder, 'wnids'; a classifier needs two or more."),
        (("--dataset", "flickr:."), "flickr found no captions in "),
        (("--dataset", "mnist", "-p", "dataset.path=pipe.npz"), "mnist cannot read x_test and y_test from pipe.npz"),
        (("--dataset", "mnist", "-p", "dataset.path=bad.npz"), "mnist cannot read x_test and y_test from bad.npz"),
        (
            ("--dataset", "imagenet:wnids", "-p", "dataset.names=pipe.npz"),
            "imagenet cannot read the names in pipe.npz (ValueError); it must hold lines",
        ),
    ],
)
def test_bad_words_are_a_sentence(words, sentence, say, tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    np.savez_compressed(tmp_path / "whole.npz", x_test=np.zeros((9, 28, 28), np.uint8), y_test=np.zeros(9, int))
    content = bytearray((tmp_path / "whole.npz").read_bytes())
    content[90:140] = bytes(50)
    (tmp_path / "bad.npz").write_bytes(content)
    for name in ("n01440764", "n01443537"):
        (tmp_path / "wnids" / name).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "wnids" / name / f"{number}.png").write_bytes(PLAIN)
    code, _, said = say("inspect", *words)
    assert code == 2
    assert sentence in said


def test_a_run_says_what_it_leaves_out(say, tmp_path):
    root = fill(tmp_path / "photos")
    (root / "cat" / "notes.txt").write_bytes(b"x")
    (root / "cat" / ".hidden.png").write_bytes(PLAIN)
    words = ("--dataset", f"folder:{root}", "-p", "dataset.size=32", "-p", "dataset.test=1", "--victim", "tiny-clip")
    code, _, said = say("run", *words, "--attack", "fgsm", "--gate", "quick", "--no-gallery", "--out", tmp_path / "out")
    assert code == 0
    assert f"imagefolder leaves out of {root}: 1 .txt, 1 hidden." in said


def test_there_are_at_least_sixty_odd_inputs():
    assert len(VALUES) + len(REFUSED) + len(FOLDERS) >= 60
