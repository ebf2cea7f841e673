"""Sets in CLIP_benchmark's layout: what is served, what is refused, and that images are those of other readers."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from robench import DataError
from robench.contracts.class_subset import with_classes
from robench.plan.references import resolve_reference
from robench.plugin.catalog import catalog
from robench.testing import check_component
from robench_builtins.datasets.shared import wds_tars
from robench_builtins.datasets.wds import Wds

from .torchvision_layouts import LAYOUTS, pixels
from .wds_layouts import member, picture, wds


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("ROBENCH_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))


def test_images_labels_names_and_prompts_are_those_of_the_folder(tmp_path: Path) -> None:
    data = Wds(path=str(wds(tmp_path / "set")), size=None)
    assert data.classes() == ("cat", "red fox")
    assert data.templates == ("a photo of a {}.", "a blurry photo of a {}.")
    test = data.load("test")
    wanted = np.stack([pixels(100 + row, 20, 30) for row in range(8)])
    assert np.array_equal(test.images().permute(0, 2, 3, 1).numpy(), wanted)
    assert test.labels.tolist() == [0, 1] * 4
    assert [len(data.load(split)) for split in ("train", "val")] == [18, 2]
    assert len(Wds(path=data.path, first=5).load("test")) == 5
    assert resolve_reference(catalog(), "dataset", "wds:ORG/x") == ("wds", {"path": "ORG/x"})


def test_it_conforms_and_takes_some_of_its_classes(tmp_path: Path) -> None:
    data = Wds(path=str(wds(tmp_path / "set")), size=16)
    results = check_component(data)
    assert {result.name: result.sentence for result in results if result.status == "failed"} == {}
    assert data.files() == (tmp_path / "set",)
    names = [f"n{number}" for number in range(3)]
    three = wds(tmp_path / "three", [(picture(row), row % 3) for row in range(9)], [], names)
    assert with_classes(Wds(path=str(three)), "1,2").templates == ("a photo of a {}.", "a blurry photo of a {}.")


def test_what_is_not_here_is_told_with_its_place(tmp_path: Path) -> None:
    data = Wds(path="clip-benchmark/wds_cars")
    (sentence,) = data.missing()
    assert sentence.startswith("https://huggingface.co/datasets/clip-benchmark/wds_cars: to ")
    with pytest.raises(DataError, match=r"and the run is offline: put the files of https://.* and write wds:FOLDER"):
        data.classes()
    with pytest.raises(DataError, match="write wds:FOLDER, or wds:ORG/NAME with its id on the hub"):
        Wds().classes()


def replace(shard: Path, *entries: tuple[str, bytes]) -> None:
    with tarfile.open(shard, "w") as tar:
        for name, content in entries:
            member(tar, name, content)


def special(shard: Path, name: str, kind: bytes, target: str = "") -> None:
    with tarfile.open(shard, "a") as tar:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, target
        tar.addfile(entry)


def cut(shard: Path, left: int) -> None:
    shard.write_bytes(shard.read_bytes()[:left])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut within an image": (lambda f: cut(f / "test/0.tar", 1800), "fetch that shard again"),
    "cut within a header": (lambda f: cut(f / "test/0.tar", 1300), "fetch that shard again"),
    "cut between members": (lambda f: cut(f / "test/0.tar", 1024), "does not end as an archive does"),
    "no tar at all": (lambda f: (f / "test/0.tar").write_bytes(b"PK" * 900), "damaged or cut short"),
    "empty file": (lambda f: (f / "test/0.tar").write_bytes(b""), "fetch that shard again"),
    "shard not there": (lambda f: (f / "test/1.tar").unlink(), "1.tar, which is not there"),
    "no nshards": (lambda f: (f / "test/nshards.txt").unlink(), "nshards.txt, which is not there"),
    "nshards in words": (lambda f: (f / "test/nshards.txt").write_text("two"), "'two', which is no number of shards"),
    "nshards of none": (lambda f: (f / "test/nshards.txt").write_text("0"), "'0', which is no number of shards"),
    "no names": (lambda f: (f / "classnames.txt").unlink(), "classnames.txt, which is not there"),
    "names twice": (lambda f: (f / "classnames.txt").write_text("cat\ncat\n"), "names 'cat' twice"),
    "one name": (lambda f: (f / "classnames.txt").write_text("cat\n"), "names fewer than two classes"),
    "names not UTF-8": (lambda f: (f / "classnames.txt").write_bytes(b"\xff\xfe\n\x80"), "is not UTF-8"),
    "class too high": (
        lambda f: replace(f / "test/0.tar", ("a.png", picture(0)), ("a.cls", b"2")),
        "has the class 2, but classnames.txt names 2",
    ),
    "class in words": (lambda f: replace(f / "test/0.tar", ("a.cls", b"cat")), "holds 'cat', which is no number"),
    "class below zero": (lambda f: replace(f / "test/0.tar", ("a.cls", b"-1")), "holds '-1', which is no number"),
    "no label": (lambda f: replace(f / "test/0.tar", ("a.png", picture(0))), "sample 'a' of"),
    "no image": (lambda f: replace(f / "test/0.tar", ("a.cls", b"0"), ("a.txt", b"x")), "has no image (.webp, .png"),
    "two images": (
        lambda f: replace(f / "test/0.tar", ("a.png", b"x"), ("a.jpg", b"x"), ("a.cls", b"0")),
        "has two of one kind",
    ),
    "path above": (lambda f: replace(f / "test/0.tar", ("../a.png", b"x")), "'../a.png' that leads outside"),
    "absolute path": (lambda f: replace(f / "test/0.tar", ("/etc/a.png", b"x")), "'/etc/a.png' that leads outside"),
    "drive": (lambda f: replace(f / "test/0.tar", ("C:a.png", b"x")), "that leads outside"),
    "backslash": (lambda f: replace(f / "test/0.tar", ("..\\a.png", b"x")), "that leads outside"),
    "symbolic link": (
        lambda f: special(f / "test/0.tar", "z.png", tarfile.SYMTYPE, "/etc/passwd"),
        "'z.png' that is no regular file",
    ),
    "hard link": (lambda f: special(f / "test/0.tar", "z.png", tarfile.LNKTYPE, "s.png"), "that is no regular file"),
    "device": (lambda f: special(f / "test/0.tar", "z.png", tarfile.CHRTYPE), "that is no regular file"),
    "FIFO": (lambda f: special(f / "test/0.tar", "z.png", tarfile.FIFOTYPE), "that is no regular file"),
    "long label": (lambda f: replace(f / "test/0.tar", ("a.cls", b"0" * 33)), "has 33 bytes; at most 32 are read"),
    "no samples": (lambda f: [replace(f / f"test/{number}.tar") for number in (0, 1)], "hold no sample"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_or_hostile_sets_are_refused_with_a_way_out(what: str, tmp_path: Path) -> None:
    folder = wds(tmp_path / "set")
    damage, says = DAMAGE[what]
    damage(folder)
    with pytest.raises(DataError) as caught:
        Wds(path=str(folder)).load("test")
    assert says in str(caught.value)
    assert str(folder) in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_a_member_that_is_no_image_is_told_when_it_is_served(tmp_path: Path) -> None:
    folder = wds(tmp_path / "set")
    replace(folder / "test/0.tar", ("a.png", picture(0)), ("a.cls", b"0"), ("b.png", b"no image"), ("b.cls", b"1"))
    test = Wds(path=str(folder)).load("test")
    with pytest.raises(DataError, match=r"image 'b' in .*0\.tar cannot be decoded"):
        test.images()


def test_images_are_no_larger_than_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wds_tars, "MOST_IMAGE_BYTES", 100)
    with pytest.raises(DataError, match="at most 100 are read"):
        Wds(path=str(wds(tmp_path / "set"))).load("test")


def test_images_of_several_sizes_need_one(tmp_path: Path) -> None:
    folder = wds(tmp_path / "set", [(picture(0), 0), (picture(1, (20, 20)), 1)])
    with pytest.raises(DataError, match=r"is 20 x 20, the first is 30 x 20; pass -p dataset.size=224"):
        Wds(path=str(folder), size=None).load("test").images()
    assert Wds(path=str(folder), size=16).load("test").images().shape == (2, 3, 16, 16)


@pytest.mark.parametrize("template", ["no place", "{c} and {c}"])
def test_prompts_have_one_place_for_the_class(template: str, tmp_path: Path) -> None:
    folder = wds(tmp_path / "set", templates=[template])
    with pytest.raises(DataError, match="has no single place"):
        Wds(path=str(folder)).templates  # noqa: B018 - it is read


@pytest.mark.parametrize(
    "space", [{"size": 16}, {"size": 18, "resize": 19}, {"size": 18, "resize": 19, "resample": "bilinear"}]
)
def test_one_set_is_the_same_pixels_through_torchvision_wds_and_hf(
    space: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    LAYOUTS["food101"](tmp_path / "tv", monkeypatch)
    build = {name: catalog().find("dataset", name).build for name in ("food101", "hf")}
    through = build["food101"]({"path": str(tmp_path / "tv"), **space})
    test = through.load("test")
    names = through.classes()
    files = sorted((tmp_path / "tv/food-101/images").rglob("1??.jpg"))
    pairs = [(file.read_bytes(), names.index(file.parent.name.replace("_", " "))) for file in files]
    folder = wds(tmp_path / "wds", pairs, pairs, names)
    table = datasets.Dataset.from_dict(
        {"image": [{"bytes": content, "path": None} for content, _ in pairs], "label": [label for _, label in pairs]},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))}),
    )
    datasets.DatasetDict(test=table).save_to_disk(str(tmp_path / "hf"))
    order = torch.tensor(test.labels.tolist()).argsort(stable=True)
    others = [Wds(path=str(folder), **space), build["hf"]({"path": str(tmp_path / "hf"), **space})]  # type: ignore[arg-type]  # the same parameters
    for other in others:
        assert other.classes() == names
        found = other.load("test")
        place = found.labels.argsort(stable=True)
        assert torch.equal(found.labels[place], test.labels[order])
        assert torch.equal(found.images()[place], test.images()[order])
