"""Image-classification sets as ``datasets`` writes them: columns, splits, sizes and sentences."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from robench import DataError
from robench.plan.references import resolve_reference
from robench.plugin.catalog import catalog
from robench.testing import check_component
from robench_builtins.datasets.hf import Hf
from robench_builtins.datasets.plantvillage import PlantVillage

datasets = pytest.importorskip("datasets")

SPLITS = ("train", "val", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the library convert files in a folder of the test's own."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def pictures(count: int, mode: str = "RGB", side: int = 8, seed: int = 0) -> list[Image.Image]:
    draw = np.random.default_rng(seed)
    shape = (side, side) if mode == "L" else (side, side, 3)
    return [Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)) for _ in range(count)]


def table(count: int, mode: str = "RGB", seed: int = 0, names: Any = ("red_fox", "cat"), **columns: Any) -> Any:
    label = datasets.ClassLabel(names=list(names)) if names else datasets.Value("string")
    labels = [row % 2 if names else "ba"[row % 2] for row in range(count)]
    content = {"img": pictures(count, mode, seed=seed), "label": labels, **columns}
    extra = {name: datasets.Value("int64") for name in columns}
    return datasets.Dataset.from_dict(
        content, features=datasets.Features({"img": datasets.Image(), "label": label, **extra})
    )


def saved(folder: Path, **splits: Any) -> str:
    datasets.DatasetDict(splits).save_to_disk(str(folder))
    return str(folder)


def counts(data: Hf) -> dict[str, list[int]]:
    return {split: data.load(split).labels.bincount().tolist() for split in SPLITS}  # type: ignore[arg-type]


def test_pixels_labels_and_names_are_those_that_were_written(tmp_path: Path) -> None:
    path = saved(tmp_path, train=table(20, seed=1), validation=table(6, seed=2), test=table(10, seed=3))
    data = Hf(path=path)
    assert data.classes() == ("red fox", "cat")
    assert counts(data) == {"train": [10, 10], "val": [3, 3], "test": [5, 5]}
    test = data.load("test")
    wanted = np.stack([np.asarray(picture) for picture in pictures(10, seed=3)]).transpose(0, 3, 1, 2)
    assert np.array_equal(test.images().numpy(), wanted)
    assert torch.equal(test[3:5].images(), test.images()[3:5])
    assert data.files() == (tmp_path,)


@pytest.mark.parametrize("kind", ["parquet", "images"])
def test_plain_folders_are_read_as_the_library_reads_them(kind: str, tmp_path: Path) -> None:
    for split, count, seed in (("train", 20, 1), ("test", 10, 3)):
        if kind == "parquet":
            (tmp_path / "data").mkdir(exist_ok=True)
            table(count, seed=seed).to_parquet(str(tmp_path / "data" / f"{split}-00000-of-00001.parquet"))
            continue
        for row, picture in enumerate(pictures(count, seed=seed)):
            folder = tmp_path / split / ("cat", "red_fox")[row % 2]
            folder.mkdir(parents=True, exist_ok=True)
            picture.save(folder / f"{row:02}.png")
    data = Hf(path=str(tmp_path))
    assert set(data.classes()) == {"cat", "red fox"}
    assert counts(data) == {"train": [9, 9], "val": [1, 1], "test": [5, 5]}
    served = {image.numpy().tobytes() for image in data.load("test").images()}
    assert served == {np.asarray(p).transpose(2, 0, 1).tobytes() for p in pictures(10, seed=3)}


def test_grey_images_stay_grey(tmp_path: Path) -> None:
    data = Hf(path=saved(tmp_path, train=table(20, "L"), test=table(4, "L", seed=3)))
    test = data.load("test")
    assert test.shape == (1, 8, 8)
    assert np.array_equal(test.images()[:, 0].numpy(), np.stack([np.asarray(p) for p in pictures(4, "L", seed=3)]))


def test_one_split_is_cut_in_three_stratified_seeded_and_disjoint(tmp_path: Path) -> None:
    path = saved(tmp_path, train=table(40))
    data = Hf(path=path)
    assert counts(data) == {"train": [14, 14], "val": [2, 2], "test": [4, 4]}
    images = [{image.numpy().tobytes() for image in data.load(split).images()} for split in SPLITS]  # type: ignore[arg-type]
    assert len(set().union(*images)) == 40
    assert Hf(path=path).load("val").fingerprint == data.load("val").fingerprint
    assert Hf(path=path, split_seed=1).load("val").fingerprint != data.load("val").fingerprint
    assert counts(Hf(path=path, test=0.5, val=0.25)) == {"train": [5, 5], "val": [5, 5], "test": [10, 10]}


def test_shares_that_leave_nothing_say_so(tmp_path: Path) -> None:
    path = saved(tmp_path, train=table(40))
    with pytest.raises(
        DataError, match=r"^hf leaves no train images of \S+ with test=1 and val=0.1; choose other shares"
    ):
        Hf(path=path, test=1.0).load("train")
    with pytest.raises(
        DataError, match=r"^hf leaves no val images of \S+ with test=0.2 and val=0; choose other shares"
    ):
        Hf(path=path, val=0.0).load("val")


def test_the_fingerprint_is_of_the_images_served(tmp_path: Path) -> None:
    first, second = (saved(tmp_path / name, train=table(40, seed=seed)) for name, seed in (("a", 0), ("b", 1)))
    again = saved(tmp_path / "c", train=table(40, seed=0))
    prints = [Hf(path=path).load("test").fingerprint for path in (first, second, again)]
    assert prints[0] == prints[2] != prints[1]
    assert Hf(path=first, size=16).load("test").fingerprint != prints[0]


def test_the_origin_is_the_users() -> None:
    assert Hf(path="uoft-cs/cifar10", origin_name="cifar10").origin() == "cifar10"
    assert Hf(path="uoft-cs/cifar10").origin() == "hf"


def test_validation_alone_is_the_test_split(tmp_path: Path) -> None:
    path = saved(tmp_path, train=table(20, seed=1), validation=table(6, seed=2))
    assert counts(Hf(path=path)) == {"train": [9, 9], "val": [1, 1], "test": [3, 3]}
    assert counts(Hf(path=path, val_split="validation")) == {"train": [8, 8], "val": [3, 3], "test": [2, 2]}


def test_splits_of_other_names_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path, learn=table(20, seed=1), judge=table(6, seed=2))
    data = Hf(path=path, train_split="learn", test_split="judge")
    assert counts(data) == {"train": [9, 9], "val": [1, 1], "test": [3, 3]}
    with pytest.raises(
        DataError, match=r"has no split 'jury'; it has learn, judge: choose one of these with -p dataset"
    ):
        Hf(path=path, test_split="jury").load("test")
    with pytest.raises(
        DataError, match=r"has no split to cut val from \(it has learn, judge\); name one with -p dataset"
    ):
        Hf(path=path, test_split="judge").load("val")


def test_columns_are_found_or_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "a", train=table(20, coarse=[0, 1] * 10))
    assert counts(Hf(path=path))["test"] == [2, 2]
    assert Hf(path=path, label_column="coarse").classes() == ("0", "1")
    with pytest.raises(
        DataError, match=r"has no column 'fine'; its columns are img, label, coarse: name one with -p dat"
    ):
        Hf(path=path, label_column="fine").classes()
    two = datasets.concatenate_datasets(
        [table(20), table(20).select_columns("img").rename_column("img", "other")], axis=1
    )
    with pytest.raises(
        DataError, match=r"has 2 image columns \(img, other\); its columns are .*dataset.image_column=NAME"
    ):
        Hf(path=saved(tmp_path / "b", train=two)).classes()
    bare = table(20).remove_columns("label")
    with pytest.raises(
        DataError, match=r"has no label column; its columns are img: name one with -p dataset.label_col"
    ):
        Hf(path=saved(tmp_path / "c", train=bare)).load("test")


def test_labels_without_declared_names_are_sorted_values(tmp_path: Path) -> None:
    data = Hf(path=saved(tmp_path, train=table(20, names=None), test=table(5, names=None)))
    assert data.classes() == ("a", "b")
    assert data.load("test").labels.tolist() == [1, 0, 1, 0, 1]


def test_images_without_labels_are_refused(tmp_path: Path) -> None:
    hidden = table(4).map(lambda row: {"label": -1})
    data = Hf(path=saved(tmp_path, train=table(20), test=hidden))
    with pytest.raises(
        DataError,
        match=r"^split 'test' of \S+ holds images without a label \(4 of 4, first row 0\); choose another split",
    ):
        data.load("test")


def test_images_of_several_sizes_ask_for_one(tmp_path: Path) -> None:
    mixed = datasets.concatenate_datasets([table(10), _larger(10)])
    path = saved(tmp_path, train=table(20), test=mixed)
    with pytest.raises(
        DataError, match=r"several sizes \(8 x 8, and 12 x 12 in row 10 of test\); pass -p dataset.size=224\.$"
    ):
        Hf(path=path).load("test").images()
    assert Hf(path=path, size=10).load("test").images().shape == (20, 3, 10, 10)


def _larger(count: int) -> Any:
    content = {"img": pictures(count, side=12), "label": [0, 1] * (count // 2)}
    return datasets.Dataset.from_dict(content, features=table(2).features)


def test_a_damaged_image_is_named_by_its_row(tmp_path: Path) -> None:
    good = table(4).cast_column("img", datasets.Image(decode=False))
    stored = [{"bytes": good[row]["img"]["bytes"] if row != 2 else b"no image", "path": None} for row in range(4)]
    broken = datasets.Dataset.from_dict({"img": stored, "label": [0, 1, 0, 1]}, features=table(2).features)
    data = Hf(path=saved(tmp_path, train=table(20), test=broken))
    with pytest.raises(
        DataError, match=r"^row 2 of \S+ \(test\) cannot be decoded \(.*\); replace it or leave it out\.$"
    ):
        data.load("test").images()


def test_what_cannot_be_loaded_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^hf needs a data set: write hf:ID with its id on the hub, or hf:FOLDER\.$"):
        Hf().classes()
    (tmp_path / "notes.txt").write_text("nothing")
    for path in (str(tmp_path / "gone"), "nobody/nothing"):
        with pytest.raises(DataError, match=rf"^hf cannot load '{path}' \(.*\); give an id on the hub while connected"):
            Hf(path=path).load("test")


def test_without_the_package_the_command_that_installs_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        DataError, match=r"^hf needs the package 'datasets'; install it with pip install 'robench\[hf\]'\."
    ):
        Hf(path="a/b").classes()


def test_it_is_written_with_a_colon() -> None:
    assert resolve_reference(catalog(), "dataset", "hf:uoft-cs/cifar10") == ("hf", {"path": "uoft-cs/cifar10"})


def test_plantvillage_on_the_hub_keeps_one_crop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id and a relative folder look alike to the library, which lets this read one without the hub."""
    names = ["Tomato___healthy", "Potato___healthy", "Tomato___Early_blight"]
    content = {"image": pictures(60), "label": [0, 1, 2] * 20}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    saved(tmp_path / "mohanty" / "PlantVillage", train=datasets.Dataset.from_dict(content, features=features))
    monkeypatch.setattr(Path, "is_dir", lambda self: False)
    monkeypatch.chdir(tmp_path)
    data = PlantVillage(path="mohanty/PlantVillage", crop="tomato", size=8, balance=20)
    assert data.classes() == ("tomato early blight", "tomato healthy")
    assert data.files() == ()
    assert data.load("test").labels.bincount().tolist() == [4, 4]
    assert data.load("train").labels.bincount().tolist() == [20, 20]
    wanted = {np.asarray(p).transpose(2, 0, 1).tobytes() for p in pictures(60)[0::3]}
    test = data.load("test")
    assert {image.numpy().tobytes() for image in test.images()[test.labels == 1]} < wanted
    with pytest.raises(DataError, match=r"^plantvillage found no class of the crop 'corn' in mohanty/PlantVillage"):
        PlantVillage(path="mohanty/PlantVillage", crop="corn").load("test")


def test_it_conforms(tmp_path: Path) -> None:
    results = check_component(Hf(path=saved(tmp_path, train=table(60))))
    assert {result.name: result.sentence for result in results if result.status != "passed"} == {}
