"""Sets of the hub with odd labels and images: each is served by a stated rule, or refused in a sentence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from robench import DataError
from robench_builtins.datasets.hf import Hf

from ..odd_images import pixels, stored, turned

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the library convert files in a folder of the test's own."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


GREY = [stored(pixels(np.full((6, 8), shade))) for shade in range(0, 240, 12)]
COLOUR = [stored(pixels(np.full((6, 8, 3), (shade, 9, 200)))) for shade in range(0, 240, 12)]


def split(images: list[bytes | None], labels: list[Any] | None = None, kind: Any = None, image: Any = None) -> Any:
    """Return a table of these files; ``kind`` declares the labels."""
    cells = [None if content is None else {"bytes": content, "path": None} for content in images]
    given = [row % 2 for row in range(len(images))] if labels is None else labels
    features = {"image": image or datasets.Image(), "label": kind or datasets.ClassLabel(names=["red_fox", "cat"])}
    return datasets.Dataset.from_dict({"image": cells, "label": given}, features=datasets.Features(features))


def saved(folder: Path, **splits: Any) -> Hf:
    datasets.DatasetDict(splits).save_to_disk(str(folder))
    return Hf(path=str(folder))


def shapes(data: Hf) -> list[tuple[int, ...]]:
    return [tuple(data.load(part).shape) for part in ("train", "val", "test")]  # type: ignore[arg-type]


@pytest.mark.parametrize("first", ["train", "test"])
def test_one_grey_image_at_the_front_does_not_take_the_colour_of_the_others(first: str, tmp_path: Path) -> None:
    parts = {"train": COLOUR[:], "test": COLOUR[:]}
    parts[first][0] = GREY[3]
    data = saved(tmp_path, **{name: split(images) for name, images in parts.items()})  # type: ignore[arg-type]
    assert shapes(data) == [(3, 6, 8)] * 3
    assert data.load("test").images()[1, :, 0, 0].tolist() == [12, 9, 200]


def test_a_grey_split_of_a_set_in_colour_is_rgb(tmp_path: Path) -> None:
    data = saved(tmp_path, train=split([*COLOUR]), test=split([*GREY]))
    assert shapes(data) == [(3, 6, 8)] * 3
    assert data.load("test").images()[1, :, 0, 0].tolist() == [12, 12, 12]


def test_a_grey_set_is_grey_in_every_split(tmp_path: Path) -> None:
    data = saved(tmp_path, train=split([*GREY]), test=split([*GREY]))
    assert shapes(data) == [(1, 6, 8)] * 3


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_the_declared_mode_decides(mode: str, channels: int, tmp_path: Path) -> None:
    image = datasets.Image(mode=mode)
    data = saved(tmp_path, train=split([*GREY], image=image), test=split([*GREY], image=image))
    assert shapes(data) == [(channels, 6, 8)] * 3


def test_an_image_in_colour_that_was_not_looked_at_is_refused_by_its_row(tmp_path: Path) -> None:
    train = [GREY[row % 20] for row in range(600)]
    train[301] = COLOUR[0]  # rows at even places are looked at
    data = saved(tmp_path, train=split(train), test=split([*GREY]))  # type: ignore[arg-type]
    assert data.load("test").images().shape == (20, 1, 6, 8)
    both = [data.load(part) for part in ("train", "val")]  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^row 301 of \S+ \(train\) is in colour, but was to be served in grey; serve"):
        _ = [part.images() for part in both]


def test_grey_that_is_stored_in_colour_counts_in_a_grey_set(tmp_path: Path) -> None:
    train = [GREY[row % 20] for row in range(600)]
    train[301] = stored(pixels(np.full((6, 8, 3), 77)))
    data = saved(tmp_path, train=split(train), test=split([*GREY]))  # type: ignore[arg-type]
    served = {int(image[0, 0, 0]) for part in ("train", "val") for image in data.load(part).images()}  # type: ignore[arg-type]
    assert 77 in served


def test_orientation_depth_and_alpha_are_those_of_the_one_rule(tmp_path: Path) -> None:
    wide = pixels(np.arange(48).reshape(6, 8) * 5)
    alpha = Image.merge("RGBA", [wide, wide, wide, Image.new("L", (8, 6))])
    deep = Image.fromarray(np.full((6, 8), 257 * 7, dtype=np.uint16))
    odd = [stored(wide.convert("RGB")), turned(wide, 6), turned(wide, 3), stored(alpha), stored(deep), GREY[0]]
    images = saved(tmp_path, train=split([*COLOUR]), test=split(odd)).load("test").images()  # type: ignore[arg-type]
    assert images[0].equal(images[1])
    assert images[0].equal(images[2])
    assert images[3].eq(255).all()
    assert images[4].eq(7).all()


ABSENT = {
    "null": (datasets.Value("string"), ["a", "b", None, "a"]),
    "null among whole numbers": (datasets.Value("int64"), [0, 1, None, 1]),
    "NaN": (datasets.Value("float64"), [0.0, 1.0, float("nan"), 1.0]),
    "minus one": (None, [0, 1, -1, 1]),
    "null for a declared class": (None, [0, 1, None, 1]),
}


@pytest.mark.parametrize("case", ABSENT)
def test_a_missing_label_is_counted_and_its_row_named(case: str, tmp_path: Path) -> None:
    kind, labels = ABSENT[case]
    full = [0 if value is None or value != value or value == -1 else value for value in labels]
    full = [str(value) if isinstance(labels[0], str) else value for value in full]
    data = saved(tmp_path, train=split(COLOUR[:4], full, kind), test=split(COLOUR[:4], labels, kind))  # type: ignore[arg-type]
    with pytest.raises(
        DataError,
        match=r"^split 'test' of \S+ holds images without a label \(1 of 4, first row 2\); choose another split with",
    ):
        data.load("test")
    assert len(data.load("train")) > 0


@pytest.mark.parametrize(
    ("labels", "kind", "classes"),
    [
        (["b", "a", "b", "c"], "string", ("a", "b", "c")),
        ([3, 1, 3, 10], "int64", ("1", "3", "10")),
        ([True, False, True, True], "bool", ("False", "True")),
        ([2.0, 1.0, 2.0, 1.0], "float64", ("1", "2")),
    ],
)
def test_values_are_classes_in_order(labels: list[Any], kind: str, classes: tuple[str, ...], tmp_path: Path) -> None:
    data = saved(tmp_path, test=split(COLOUR[:4], labels, datasets.Value(kind)))  # type: ignore[arg-type]
    assert data.classes() == classes
    ordered = [classes[label] for label in data.load("test").labels.tolist()]
    assert ordered == [str(int(value)) if isinstance(value, float) else str(value) for value in labels]


REFUSED = {
    "fractions": ([0.5, 1.0], datasets.Value("float64"), "holds the number 0.5, which is no class: an image has one"),
    "lists": ([[0], [1, 2]], datasets.Sequence(datasets.Value("int64")), "holds a list ([0]), which is no class"),
    "dates": (["2020-01-01", "2020-01-02"], datasets.Value("date32"), "holds a date (2020-01-01), which is no class"),
    "bytes": ([b"a", b"b"], datasets.Value("binary"), "holds a bytes (b'a'), which is no class"),
    "names that read alike": ([0, 1], datasets.ClassLabel(names=["a_b", "a b"]), "both read as 'a b'; rename or merge"),
    "a blank name": ([0, 1], datasets.ClassLabel(names=["a", "_"]), "has a class without a name (label 1); name it."),
    "blank values": (["a", " "], datasets.Value("string"), "has a class without a name (label 0); name it."),
    "one class": (["a", "a"], datasets.Value("string"), "has 1 classes; a classifier needs two or more."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_label_is_refused_by_column(case: str, tmp_path: Path) -> None:
    labels, kind, wanted = REFUSED[case]
    data = saved(tmp_path, test=split(COLOUR[:2], labels, kind))  # type: ignore[arg-type]
    with pytest.raises(DataError) as raised:
        data.classes()
    assert str(raised.value).startswith(f"label column 'label' of {tmp_path} ")
    assert wanted in str(raised.value)


def test_a_missing_image_is_named_by_its_row(tmp_path: Path) -> None:
    data = saved(tmp_path, test=split([COLOUR[0], None, COLOUR[1], COLOUR[2]]))
    with pytest.raises(DataError, match=r"^row 1 of \S+ \(test\) holds no image; leave that row out\.$"):
        data.load("test").images()


def test_an_image_that_is_only_named_and_not_there(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for row in range(10):
            (tmp_path / name / f"{row}.png").write_bytes(COLOUR[row])
    test = Hf(path=str(tmp_path)).load("test")
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"^row \d+ of \S+ \(train\) names \S+\.png, which is no file here; bring it,"):
        test.images()


@pytest.mark.parametrize("place", ["/", "/proc", "/sys"])
def test_the_systems_own_folders_are_refused(place: str) -> None:
    for asked in (Hf(path=place).files, Hf(path=place).classes):
        with pytest.raises(DataError, match=rf"^hf takes no images from {place}, the system's own; pass -p dataset"):
            asked()


def test_a_pipe_in_a_local_folder_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(COLOUR[0])
    os.mkfifo(tmp_path / "dog" / "b.png")
    with pytest.raises(DataError, match=r"^hf found \S+/dog/b\.png, which is no regular file; remove it\.$"):
        Hf(path=str(tmp_path)).load("test")


def test_a_link_to_itself_in_a_local_folder_ends(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for row in range(10):
            (tmp_path / name / f"{row}.png").write_bytes(COLOUR[row])
        (tmp_path / name / "again").symlink_to(tmp_path / name)
    data = Hf(path=str(tmp_path))
    assert sum(len(data.load(part)) for part in ("train", "val", "test")) == 20  # type: ignore[arg-type]
