"""Each line of the tables in docs/how-to/dataset.md is carried out: no line without a check, nor the other way."""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from robench import DataError, decode_image
from robench_builtins.datasets.hf import Hf
from robench_builtins.datasets.imagefolder import ImageFolder
from robench_builtins.datasets.shared import folder_walk

from .odd_images import animated, pixels, png, stored, tiff, turned

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "dataset.md").read_text(encoding="utf-8")
Check = Callable[..., None]


def table(name: str) -> list[str]:
    """Return the first column of a table of the page."""
    rows = re.search(rf"<!-- table: {name} -->\n\|.*\n\|[-:|]+\n((?:\|.*\n)+)", PAGE)
    assert rows
    return [line.split(" | ")[0].removeprefix("| ") for line in rows[1].splitlines()]


PIXELS: dict[str, Check] = {}
FILES: dict[str, Check] = {}
HUB: dict[str, Check] = {}


def row(checks: dict[str, Check], text: str) -> Callable[[Check], Check]:
    def keep(check: Check) -> Check:
        checks[text] = check
        return check

    return keep


def test_every_line_has_a_check_and_every_check_a_line() -> None:
    assert table("pixels") == list(PIXELS)
    assert table("files") == list(FILES)
    assert table("hub") == list(HUB)


# Pixels


def grey(content: bytes) -> list[int]:
    values = decode_image(content)
    assert values[0].equal(values[1])
    assert values[0].equal(values[2])
    return [int(value) for value in values[0].flatten()]


def colours(content: bytes) -> list[tuple[int, ...]]:
    return [tuple(values) for values in decode_image(content).flatten(1).T.tolist()]


def refused(content: bytes, *words: str) -> None:
    with pytest.raises(DataError) as raised:
        decode_image(content, "image photos/a.png")
    assert str(raised.value).startswith("image photos/a.png ")
    assert all(word in str(raised.value) for word in words)


@row(PIXELS, "8-bit RGB")
def _() -> None:
    assert colours(stored(pixels([[[1, 2, 3]]]))) == [(1, 2, 3)]


@row(PIXELS, "8-bit grey, or 1 bit")
def _() -> None:
    assert grey(stored(pixels([[0, 7, 255]]))) == [0, 7, 255]
    assert grey(stored(Image.new("1", (1, 1), 1))) == [255]


@row(PIXELS, "16-bit grey (PNG, TIFF, PGM, JPEG 2000)")
def _() -> None:
    values = [0, 128, 129, 257, 32767, 65535]
    kinds = ["PNG", "TIFF", "PPM", *(["JPEG2000"] if features.check("jpg_2000") else [])]
    for kind in kinds:
        assert grey(stored(pixels([values], "uint16"), kind)) == [round(value / 257) for value in values]


@row(PIXELS, "12-bit grey (TIFF)")
def _() -> None:
    assert grey(tiff(2, 1, 12, 1, bytes([0xFF, 0xF0, 0x0A]))) == [255, round(10 * 255 / 4095)]


@row(PIXELS, "16 bits in colour, or with alpha")
def _() -> None:
    assert colours(png(1, 1, 16, 2, [struct.pack(">3H", 511, 256, 255)])) == [(1, 1, 0)]
    assert grey(png(1, 1, 16, 4, [struct.pack(">2H", 1023, 65535)])) == [3]


@row(PIXELS, "32-bit or signed 16-bit integers, all 0 to 255")
def _() -> None:
    assert grey(stored(pixels([[0, 9, 255]], "int32"), "TIFF")) == [0, 9, 255]
    assert grey(tiff(2, 1, 16, 1, struct.pack("<2h", 9, 255), 2)) == [9, 255]


@row(PIXELS, "32-bit or signed 16-bit integers, others")
def _() -> None:
    refused(stored(pixels([[0, 256]], "int32"), "TIFF"), "from 0 to 256")
    refused(tiff(2, 1, 16, 1, struct.pack("<2h", -9, 255), 2), "from -9 to 255")


@row(PIXELS, "floating point, all in [0, 1]")
def _() -> None:
    assert grey(stored(pixels([[0, 0.25, 1]], "float32"), "TIFF")) == [0, 64, 255]


@row(PIXELS, "floating point, others, or NaN")
def _() -> None:
    refused(stored(pixels([[0, 1.5]], "float32"), "TIFF"), "from 0 to 1.5")
    refused(stored(pixels([[0, np.nan]], "float32"), "TIFF"), "from nan to nan")


@row(PIXELS, "TIFF with zero for white")
def _() -> None:
    assert grey(tiff(2, 1, 8, 0, bytes([0, 255]))) == grey(tiff(2, 1, 16, 0, bytes([0, 0, 255, 255]))) == [255, 0]


@row(PIXELS, "palette")
def _() -> None:
    picture = Image.new("P", (1, 1), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    assert colours(stored(picture)) == [(10, 20, 30)]


@row(PIXELS, "alpha, in any mode")
def _() -> None:
    assert colours(stored(Image.new("RGBA", (1, 1), (10, 20, 30, 0)))) == [(255, 255, 255)]
    assert grey(stored(pixels([[[10, 0], [10, 255], [10, 128]]]))) == [255, 10, 132]


@row(PIXELS, "a transparent colour (PNG, GIF)")
def _() -> None:
    assert colours(stored(pixels([[[1, 2, 3]]]), transparency=(1, 2, 3))) == [(255, 255, 255)]
    assert colours(stored(Image.new("P", (1, 1), 1), "GIF", transparency=1)) == [(255, 255, 255)]


@row(PIXELS, "CMYK, YCbCr")
def _() -> None:
    for mode, values in (("CMYK", (200, 10, 30, 40)), ("YCbCr", (90, 100, 160))):
        picture = Image.new(mode, (1, 1), values)
        assert colours(stored(picture, "TIFF")) == [picture.convert("RGB").getpixel((0, 0))]


@row(PIXELS, "LAB")
def _() -> None:
    refused(stored(Image.new("LAB", (1, 1)), "TIFF"), "mode LAB")


@row(PIXELS, "a colour profile or gamma")
def _() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    assert colours(stored(pixels([[[1, 2, 3]]]), icc_profile=profile)) == [(1, 2, 3)]


@row(PIXELS, "EXIF orientation 1 to 8")
def _() -> None:
    picture = pixels(np.arange(36).reshape(3, 4, 3))
    for orientation in range(1, 9):
        assert colours(turned(picture, orientation)) == colours(stored(picture))


@row(PIXELS, "EXIF that is damaged or means nothing")
def _() -> None:
    for block in (b"Exif\0\0MM\0*\0\0\xff\xff", b"nonsense"):
        assert colours(stored(pixels([[[1, 2, 3], [4, 5, 6]]]), exif=block)) == [(1, 2, 3), (4, 5, 6)]


@row(PIXELS, "several frames or pages")
def _() -> None:
    assert {colours(animated(kind))[0] for kind in ("GIF", "PNG", "TIFF")} == {(255, 0, 0)}


@pytest.mark.parametrize("line", PIXELS)
def test_pixels(line: str) -> None:
    PIXELS[line]()


# Files and folders


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(5):
            (tmp_path / "photos" / name / f"{number}.png").write_bytes(stored(pixels([[[number, 2, 3]]])))
    return tmp_path / "photos"


def counted(root: Path, images: int, said: str = "") -> None:
    data = ImageFolder(path=str(root), size=8, test=1.0)
    assert len(data.load("test").images()) == images
    assert data.notes() == ((f"imagefolder leaves out of {root}: {said}.",) if said else ())


def refuses(root: Path, *words: str) -> None:
    data = ImageFolder(path=str(root), size=8, test=1.0)
    with pytest.raises(DataError) as raised:
        _ = data.classes(), data.load("test").images()
    assert all(word in str(raised.value) for word in words)


@row(
    FILES,
    "any suffix that Pillow decodes here, in any case: .jpg, .jpeg, .jfif, .png, .webp, .avif, .jp2, .tif, .bmp, .gif, "
    ".ppm, ...",
)
def _(root: Path, _: pytest.MonkeyPatch) -> None:
    suffixes = [".jpg", ".JPEG", ".jfif", ".PNG", ".webp", ".tif", ".bmp", ".gif", ".ppm"]
    suffixes += [".jp2"] * features.check("jpg_2000") + [".avif"] * features.check("avif")
    for suffix in suffixes:
        Image.new("RGB", (8, 8)).save(root / "cat" / f"x{suffix}")
    counted(root, 10 + len(suffixes))


@row(FILES, "any other suffix (.txt, .heic, .svg, .eps, .pdf, .npy, none)")
def _(root: Path, _: pytest.MonkeyPatch) -> None:
    for name in ("a.txt", "b.txt", "a.heic", "a.svg", "a.eps", "a.pdf", "a.npy", "none"):
        (root / "cat" / name).write_bytes(b"x")
    counted(root, 10, "2 .txt, 1 .eps, 1 .heic, 1 .npy, 1 .pdf, 1 .svg, 1 of no known suffix")


@row(
    FILES,
    "a name that begins with a dot, `__MACOSX`, `@eaDir`, `Thumbs.db`, `desktop.ini`, at any depth",
)
def _(root: Path, _: pytest.MonkeyPatch) -> None:
    for place in (root, root / "cat", root / "cat" / "deep"):
        for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
            (place / name).mkdir(parents=True)
            (place / name / "0.png").write_bytes(b"x")
        for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (place / name).write_bytes(b"x")
    counted(root, 10, "18 hidden")


@row(FILES, "an image beside the class folders")
def _(root: Path, _: pytest.MonkeyPatch) -> None:
    (root / "loose.png").write_bytes(b"x")
    counted(root, 10, "1 beside the class folders")


@row(FILES, "a FIFO, socket or device")
def _(root: Path, patch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "cat" / "fifo.png")
    (root / "cat" / "zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        patch.chdir(root / "cat")
        listener.bind("socket.png")
    counted(root, 10, "3 no regular file")


@row(FILES, "a link to photos or a folder elsewhere")
def _(root: Path, _: pytest.MonkeyPatch) -> None:
    elsewhere = root.parent / "elsewhere"
    elsewhere.mkdir()
    for number in range(3):
        (elsewhere / f"{number}.png").write_bytes(stored(pixels([[[9, 9, number]]])))
    (root / "cat" / "more").symlink_to(elsewhere)
    (root / "dog" / "one.png").symlink_to(elsewhere / "0.png")
    counted(root, 14)


@row(FILES, "a link to its own class, to another, or to a folder above")
def _(root: Path, _: pytest.MonkeyPatch) -> None:
    for name, target in (("own", "."), ("other", "../dog"), ("above", "../..")):
        (root / "cat" / name).symlink_to(target)
    counted(root, 10, "3 links back")


@row(FILES, "two class folders that are one by a link")
def _(root: Path, _: pytest.MonkeyPatch) -> None:
    (root / "wolf").symlink_to("dog")
    refuses(root, str(root / "dog"), str(root / "wolf"))


@row(FILES, "a link to an image that is not there")
def _(root: Path, _: pytest.MonkeyPatch) -> None:
    (root / "dog" / "lost.png").symlink_to("gone")
    refuses(root, str(root / "dog" / "lost.png"))


@row(FILES, "a file that is empty, cut short, damaged or no image at all")
def _(root: Path, _: pytest.MonkeyPatch) -> None:
    whole = stored(pixels(np.random.default_rng(0).integers(0, 256, (30, 30, 3))))
    for content in (b"", whole[:900], whole.replace(b"IDAT", b"IDAX"), b"P3\n2 1\n255\none two", b"text"):
        (root / "dog" / "2.png").write_bytes(content)
        refuses(root, f"image {root / 'dog' / '2.png'} cannot be decoded (")


@row(FILES, "a pointer of Git LFS in an image's place")
def _(root: Path, _: pytest.MonkeyPatch) -> None:
    (root / "dog" / "2.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    refuses(root, f"image {root / 'dog' / '2.png'} ", "git lfs pull")


@row(FILES, "a file or folder that may not be read")
def _(root: Path, patch: pytest.MonkeyPatch) -> None:
    scan, read = os.scandir, Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "2.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    def shut(place: object) -> object:
        if str(place).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)  # type: ignore[call-overload]

    patch.setattr(Path, "read_bytes", refuse)
    refuses(root, f"image {root / 'cat' / '2.png'} cannot be read (Permission denied)")
    patch.setattr(folder_walk.os, "scandir", shut)
    refuses(root, f"{root / 'dog'} cannot be read (Permission denied)")


@row(FILES, "file names that are not UTF-8")
def _(root: Path, _: pytest.MonkeyPatch) -> None:
    os.rename(root / "cat" / "0.png", os.fsencode(root) + b"/cat/caf\xe9.png")
    counted(root, 10)


@row(FILES, "a class folder's name that is not UTF-8")
def _(root: Path, _: pytest.MonkeyPatch) -> None:
    os.rename(root / "cat", os.fsencode(root) + b"/caf\xe9")
    refuses(root, "class folder 'caf\\xe9'", "not UTF-8")


@row(FILES, "class folders `1`, `2`, `10`")
def _(root: Path, _: pytest.MonkeyPatch) -> None:
    for name in ("1", "2", "10"):
        (root / "n" / name).mkdir(parents=True)
        for number in range(2):
            (root / "n" / name / f"{number}.png").write_bytes(stored(pixels([[[1, 2, 3]]])))
    assert ImageFolder(path=str(root / "n")).classes() == ("1", "10", "2")


@row(FILES, "`/`, `/proc` or `/sys` as the folder")
def _(root: Path, _: pytest.MonkeyPatch) -> None:
    for place in ("/", "/proc", "/sys"):
        refuses(Path(place), f"takes no images from {place}, the system's own")


@pytest.mark.parametrize("line", FILES)
def test_files(line: str, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FILES[line](photos, monkeypatch)


# Sets of the hub

GREY = [stored(pixels(np.full((6, 8), shade))) for shade in range(0, 240, 12)]
COLOUR = [stored(pixels(np.full((6, 8, 3), (shade, 9, 200)))) for shade in range(0, 240, 12)]


def saved(folder: Path, labels: list[object] | None = None, kind: object = None, mode: str | None = None,
          **splits: list[bytes | None]) -> Hf:  # fmt: skip
    import datasets

    tables = {}
    for name, images in splits.items():
        cells = [None if content is None else {"bytes": content, "path": None} for content in images]
        given = labels or [number % 2 for number in range(len(images))]
        names = datasets.ClassLabel(names=["cat", "dog"]) if kind is None else kind
        features_ = datasets.Features({"image": datasets.Image(mode=mode), "label": names})
        tables[name] = datasets.Dataset.from_dict({"image": cells, "label": given}, features=features_)
    datasets.DatasetDict(tables).save_to_disk(str(folder))
    return Hf(path=str(folder))


def channels(data: Hf) -> list[int]:
    return [data.load(split).images().shape[1] for split in ("train", "val", "test")]  # type: ignore[arg-type]


def says(data: Hf, *words: str) -> None:
    with pytest.raises(DataError) as raised:
        _ = data.classes(), data.load("test").images()
    assert all(word in str(raised.value) for word in words)


@row(HUB, 'declares its images\' mode (`Image(mode="L")`)')
def _(folder: Path) -> None:
    assert channels(saved(folder / "l", mode="L", train=[*GREY], test=[*GREY])) == [1, 1, 1]
    assert channels(saved(folder / "rgb", mode="RGB", train=[*GREY], test=[*GREY])) == [3, 3, 3]


@row(HUB, "holds no colour in any split")
def _(folder: Path) -> None:
    assert channels(saved(folder, train=[*GREY], test=[*GREY])) == [1, 1, 1]


@row(HUB, "holds colour in any split")
def _(folder: Path) -> None:
    assert channels(saved(folder, train=[*GREY[1:], COLOUR[0]], test=[*GREY])) == [3, 3, 3]


@row(HUB, "is grey but for one image, which was not looked at")
def _(folder: Path) -> None:
    test: list[bytes | None] = [GREY[number % 20] for number in range(600)]
    test[301] = COLOUR[0]
    says(saved(folder, test=test), "row 301 of ", "is in colour")


@row(HUB, "has images of several sizes")
def _(folder: Path) -> None:
    says(saved(folder, test=[*GREY, stored(pixels(np.zeros((9, 9))))]), "in row 20 of test", "-p dataset.size=224")


@row(HUB, "misses labels: null, NaN or -1")
def _(folder: Path) -> None:
    import datasets

    for name, labels, kind in (
        ("null", ["a", None, "b"], datasets.Value("string")),
        ("nan", [0.0, float("nan"), 1.0], datasets.Value("float64")),
        ("minus", [0, -1, 1], None),
    ):
        says(saved(folder / name, labels, kind, test=COLOUR[:3]), "without a label (1 of 3, first row 1)")


def classes(folder: Path, labels: list[object], kind: str) -> tuple[str, ...]:
    import datasets

    data = saved(folder / kind, labels, datasets.Value(kind), test=COLOUR[: len(labels)])
    assert len(data.load("test")) == len(labels)
    return data.classes()


@row(HUB, "has whole numbers, strings or booleans for labels")
def _(folder: Path) -> None:
    assert classes(folder, [10, 9, 10], "int64") == ("9", "10")
    assert classes(folder, ["b", "a", "b"], "string") == ("a", "b")
    assert classes(folder, [True, False, True], "bool") == ("False", "True")


@row(HUB, "has whole numbers stored as floats")
def _(folder: Path) -> None:
    assert classes(folder, [10.0, 9.0, 10.0], "float64") == ("9", "10")


@row(HUB, "has fractions for labels")
def _(folder: Path) -> None:
    import datasets

    says(saved(folder, [0.5, 1.0], datasets.Value("float64"), test=COLOUR[:2]), "label column 'label'", "number 0.5")


@row(HUB, "has lists for labels (several an image)")
def _(folder: Path) -> None:
    import datasets

    kind = datasets.Sequence(datasets.Value("int64"))
    says(saved(folder, [[0], [0, 1]], kind, test=COLOUR[:2]), "label column 'label'", "holds a list ([0])")


@row(HUB, "has two class names that read alike, or a blank one")
def _(folder: Path) -> None:
    import datasets

    alike, blank = datasets.ClassLabel(names=["a_b", "a b"]), datasets.ClassLabel(names=["a", "_"])
    says(saved(folder / "alike", None, alike, test=COLOUR[:2]), "'a_b' and 'a b'")
    says(saved(folder / "blank", None, blank, test=COLOUR[:2]), "a class without a name (label 1)")


@row(HUB, "misses an image")
def _(folder: Path) -> None:
    says(saved(folder, test=[COLOUR[0], None, COLOUR[1]]), "row 1 of ", "holds no image")


@pytest.mark.parametrize("line", HUB)
def test_hub(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    HUB[line](tmp_path / "set")
