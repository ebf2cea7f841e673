"""The data sets of the CLIP papers, on small copies of their official layouts, whole and damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.datasets as official
from PIL import Image
from torchvision import transforms

from robench import DataError, SpecError
from robench.plugin.catalog import catalog
from robench.testing import check_component

from .torchvision_layouts import COUNT, LAYOUTS, pixels

SIZED = ("eurosat", "pcam", "stl10", "svhn")
WHOLE = ("caltech101", "caltech256", "eurosat", "sun397")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBENCH_OFFLINE", "1")


def build(name: str, **parameters: Any) -> Any:
    return catalog().find("dataset", name).build(parameters)


@pytest.fixture(params=LAYOUTS)
def found(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    LAYOUTS[request.param](tmp_path, monkeypatch)
    return request.param, tmp_path


def test_every_one_conforms(found: tuple[str, Path]) -> None:
    name, root = found
    shares = {"test": 0.5, "val": 0.25} if name in WHOLE else {}
    results = check_component(build(name, path=str(root), size=16, **shares))
    assert {result.name: result.sentence for result in results if result.status == "failed"} == {}
    assert next(result for result in results if result.name == "disjoint splits").status == "passed"
    assert build(name, path=str(root)).missing() == ()
    assert build(name, path=str(root)).files()


def test_what_is_not_there_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in LAYOUTS:
        dataset = build(name, path=str(tmp_path))
        (sentence,) = dataset.missing()
        assert sentence.startswith(f"{name} (")
        assert str(tmp_path) in sentence
        assert f"or pass -p {name}.path=DIR." in sentence
        with pytest.raises(DataError, match=r"is not there, and the run is offline: .*put the files of http"):
            dataset.load("test")
        assert not list(tmp_path.iterdir()), f"{name} leaves something behind"


@pytest.mark.parametrize(
    ("name", "words", "raw", "refined"),
    [
        ("food101", "apple pie", "apple_pie", "apple pie"),
        ("fgvc-aircraft", "F-16A/B", "F-16A/B", "f 16a b"),
        ("oxford-pets", "American Bulldog", "American Bulldog", "american bulldog"),
        ("dtd", "polka-dotted", "polka-dotted", "polka dotted"),
        ("sun397", "apse indoor", "apse/indoor", "apse indoor"),
        ("eurosat", "annual crop land", "AnnualCrop", "annualcrop"),
        ("caltech256", "airplanes", "251.airplanes-101", "251.airplanes 101"),
        ("caltech101", "Faces easy", "Faces_easy", "faces easy"),
        ("country211", "Kosovo", "XK", "xk"),
        ("stl10", "airplane", "airplane", "airplane"),
        ("stanford-cars", "Acura RL Sedan 2012", "Acura RL Sedan 2012", "acura rl sedan 2012"),
        ("pcam", "lymph node", "healthy lymph node tissue", "healthy lymph node tissue"),
    ],
)
def test_class_names_are_spelt_as_a_protocol_has_them(
    name: str, words: str, raw: str, refined: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LAYOUTS[name](tmp_path, monkeypatch)
    spelt = {how: build(name, path=str(tmp_path), spelling=how).classes() for how in ("words", "raw", "refined")}
    place = spelt["raw"].index(raw)
    assert (spelt["words"][place], spelt["refined"][place]) == (words, refined)


def test_cifar_names_are_spelt_as_a_protocol_has_them() -> None:
    names = {how: build("cifar100", spelling=how).classes()[1] for how in ("words", "raw", "refined")}
    assert names == {"words": "aquarium fish", "raw": "aquarium_fish", "refined": "aquarium fish"}


@pytest.mark.parametrize("name", SIZED)
def test_sets_of_one_size_are_attacked_at_it_unless_asked(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LAYOUTS[name](tmp_path, monkeypatch)
    side = {"svhn": 32, "eurosat": 64}.get(name, 96)
    assert build(name, path=str(tmp_path)).load("test").shape == (3, side, side)
    large = build(name, path=str(tmp_path), size=112, resize=128, resample="bilinear").load("test")
    assert large.shape == (3, 112, 112)
    stored = build(name, path=str(tmp_path)).load("test")[:2]
    resize = transforms.Compose([transforms.Resize(128), transforms.CenterCrop(112)])
    wanted = [np.asarray(resize(Image.fromarray(image.permute(1, 2, 0).numpy()))) for image in stored.images()]
    assert np.array_equal(large[:2].images().permute(0, 2, 3, 1).numpy(), np.stack(wanted))


def test_files_are_resized_and_cropped_as_torchvision_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LAYOUTS["food101"](tmp_path, monkeypatch)
    for resample in ("bicubic", "bilinear"):
        mode = transforms.InterpolationMode[resample.upper()]
        way = transforms.Compose([transforms.Resize(25, mode), transforms.CenterCrop(22), transforms.PILToTensor()])
        wanted = official.Food101(tmp_path, split="test", transform=way)
        served = build("food101", path=str(tmp_path), size=22, resize=25, resample=resample).load("test")
        assert torch.equal(served.images(), torch.stack([image for image, _ in wanted]))
        assert served.labels.tolist() == [label for _, label in wanted]


def test_the_attack_space_enters_the_id_where_it_is_not_the_default(tmp_path: Path) -> None:
    from robench.evidence.fingerprint import of_component

    plain, other = build("cifar10"), build("cifar10", size=224, resize=256)
    assert "size" not in of_component(plain)["parameters"]
    assert of_component(other)["parameters"]["resize"] == 256
    with pytest.raises(SpecError, match=r"cifar10.resize=256 needs the size that is cut out; give size=224 too"):
        build("cifar10", resize=256).resizing  # noqa: B018 - it is read
    with pytest.raises(SpecError, match=r"short side is 200 has no middle of size 224; choose resize no smaller"):
        build("cifar10", size=224, resize=200).resizing  # noqa: B018 - it is read


def damage_pets(root: Path) -> None:
    (root / "oxford-iiit-pet/annotations/test.txt").write_text("Abyssinian_1 99 1 1\n")


def damage_food(root: Path) -> None:
    (root / "food-101/meta/test.json").write_text("{")


def damage_dtd(root: Path) -> None:
    (root / "dtd/dtd/labels/test1.txt").unlink()


def damage_aircraft(root: Path) -> None:
    (root / "fgvc-aircraft-2013b/data/images_variant_test.txt").write_text("1 unknown\n")


def damage_stl(root: Path) -> None:
    (root / "stl10_binary/test_X.bin").write_bytes(b"cut short")


def damage_cars(root: Path) -> None:
    (root / "stanford_cars/cars_test_annos_withlabels.mat").write_bytes(b"no mat file")


def damage_pcam(root: Path) -> None:
    (root / "pcam/camelyonpatch_level_2_split_test_x.h5").write_bytes(b"no h5 file")


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("oxford-pets", damage_pets, "gives image 0 the class 98 of 1"),
        ("food101", damage_food, "Food101 cannot be read from"),
        ("dtd", damage_dtd, "No such file or directory"),
        ("fgvc-aircraft", damage_aircraft, "'unknown'"),
        ("stl10", damage_stl, "not found or corrupted"),
        ("stanford-cars", damage_cars, "StanfordCars cannot be read from"),
        ("pcam", damage_pcam, "PCAM cannot be read from"),
    ],
)
def test_damaged_copies_are_told_with_a_way_out(
    name: str, damage: Any, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LAYOUTS[name](tmp_path, monkeypatch)
    damage(tmp_path)
    with pytest.raises(DataError) as caught:
        build(name, path=str(tmp_path)).load("test")
    assert says in str(caught.value)
    assert f"or pass -p {name}.path=DIR." in str(caught.value)


def test_an_image_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LAYOUTS["food101"](tmp_path, monkeypatch)
    test = build("food101", path=str(tmp_path)).load("test")
    victim = tmp_path / "food-101/images/pho/100.jpg"
    victim.write_text("no image")
    with pytest.raises(DataError, match=r"pho/100.jpg cannot be decoded"):
        test.images()


def test_sets_without_parts_are_for_test_unless_shares_say_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LAYOUTS["caltech101"](tmp_path, monkeypatch)
    assert len(build("caltech101", path=str(tmp_path)).load("test")) == 2 * COUNT
    with pytest.raises(DataError, match=r"leaves no train images with val=0.1 and test=1; choose other shares"):
        build("caltech101", path=str(tmp_path)).load("train")
    shares = {split: len(build("caltech101", path=str(tmp_path), test=0.5).load(split)) for split in ("train", "test")}
    assert shares == {"train": 2, "test": 4}


def test_pixels_are_those_that_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LAYOUTS["stl10"](tmp_path, monkeypatch)
    test = build("stl10", path=str(tmp_path)).load("test")
    wanted = np.stack([pixels(100 + row, 96, 96) for row in range(10 * COUNT)])
    assert np.array_equal(test.images().permute(0, 2, 3, 1).numpy(), wanted)
