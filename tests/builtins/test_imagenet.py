"""ImageNet in torchvision's layout and as plain folders, and the names of its wnids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robench import DataError
from robench.testing import check_component
from robench_builtins.datasets.imagenet import ImageNet, read_names
from robench_builtins.datasets.shared.imagenet_wnids import wnids

TENCH, GOLDFISH, HAMMERHEAD = "n01440764", "n01443537", "n01494475"
LINES = f"{TENCH} tench, Tinca tinca\n{GOLDFISH} goldfish, Carassius auratus\n{HAMMERHEAD}\thammerhead\n\nnonsense\n"


def fill(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    draw = np.random.default_rng(sum(str(folder).encode()))
    for number in range(count):
        Image.fromarray(draw.integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(folder / f"{number}.png")


@pytest.fixture
def val(tmp_path: Path) -> Path:
    """Return a folder with val/ alone, of three classes."""
    for place, wnid in enumerate((TENCH, GOLDFISH, HAMMERHEAD)):
        fill(tmp_path / "val" / wnid, 3 + place)
    return tmp_path


def serve(root: Path, **parameters: object) -> ImageNet:
    return ImageNet(path=str(root), **{"size": 8, **parameters})  # type: ignore[arg-type]


def test_val_alone_is_all_test_and_read_through_the_mapping_beside_it(val: Path) -> None:
    (val / "LOC_synset_mapping.txt").write_text(LINES)
    data = serve(val)
    assert data.classes() == ("tench", "goldfish", "hammerhead")
    assert data.load("test").labels.bincount().tolist() == [3, 4, 5]
    with pytest.raises(DataError, match=r"^imagenet leaves no train images of \S+ with test=1 and val=0.1; lower them"):
        data.load("train")


def test_val_is_the_test_split_beside_train(val: Path) -> None:
    for wnid in (TENCH, GOLDFISH, HAMMERHEAD):
        fill(val / "train" / wnid, 10)
    (val / "names.json").write_text(
        json.dumps({TENCH: "tench, Tinca tinca", GOLDFISH: "goldfish", HAMMERHEAD: "shark"})
    )
    data = serve(val, names=str(val / "names.json"))
    assert data.classes() == ("tench", "goldfish", "shark")
    counts = {split: data.load(split).labels.bincount().tolist() for split in ("train", "val", "test")}
    assert counts == {"train": [9] * 3, "val": [1] * 3, "test": [3, 4, 5]}
    assert data.files() == (val, val / "names.json")


def test_plain_class_folders_are_classes(tmp_path: Path) -> None:
    fill(tmp_path / "great_white-shark", 4)
    fill(tmp_path / "tench", 4)
    data = serve(tmp_path, test=0.5)
    assert data.classes() == ("great white shark", "tench")
    assert [len(data.load(split)) for split in ("train", "val", "test")] == [2, 2, 4]


def test_a_wnid_without_a_name_says_how_to_give_one(val: Path) -> None:
    assert serve(val).classes() == ("tench", "goldfish", "hammerhead")
    for wnid in ("n00000001", "n00000002"):
        fill(val / "val" / wnid, 2)
    with pytest.raises(DataError) as caught:
        serve(val).classes()
    assert str(caught.value) == (
        "imagenet has no name for n00000001 and 1 more; pass -p dataset.names=FILE with lines 'n00000001 NAME', such "
        "as LOC_synset_mapping.txt of the challenge."
    )


def test_words_txt_names_all_of_wordnet_and_only_shared_names_that_are_served_are_kept_apart(val: Path) -> None:
    others = "".join(f"n{number:08d}\ttench, and so on\n" for number in range(50_000))
    (val / "words.txt").write_text(f"{others}{TENCH}\ttench\n{GOLDFISH}\tfish\n{HAMMERHEAD}\tfish\n")
    assert serve(val).classes() == ("tench", f"fish ({GOLDFISH})", f"fish ({HAMMERHEAD})")


def test_all_thousand_are_named_as_torchvision_names_them(tmp_path: Path) -> None:
    from torchvision.models import ResNet50_Weights

    names = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    assert serve(tmp_path).words(wnids()) == names
    assert list(wnids()) == sorted(set(wnids()))
    spots = {"n01440764": 0, "n02012849": 134, "n03126707": 517, "n15075141": 999}
    assert {wnid: wnids().index(wnid) for wnid in spots} == spots
    assert len(set(names)) == 1000
    assert (names[0], names[134], names[517]) == ("tench", "crane bird", "crane")


def test_keras_index_is_read(tmp_path: Path) -> None:
    path = tmp_path / "imagenet_class_index.json"
    path.write_text(json.dumps({"0": [TENCH, "tench"], "3": [HAMMERHEAD, "hammer_head"]}))
    assert read_names(path) == {TENCH: "tench", HAMMERHEAD: "hammer head"}


def test_names_that_two_share_keep_their_wnids_apart(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("n02012849 crane\nn03126707 crane\nn01440764 tench")
    assert read_names(path) == {"n02012849": "crane (n02012849)", "n03126707": "crane (n03126707)", TENCH: "tench"}


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("gone.txt", None, r"cannot read the names in \S+gone.txt \(FileNotFoundError\); it must hold lines"),
        ("a.json", "[1, 2]", r"cannot read the names in \S+a.json \(TypeError\)"),
        ("a.json", "{", r"cannot read the names in \S+a.json \(JSONDecodeError\)"),
        ("a.json", '{"0": []}', r"cannot read the names in \S+a.json \(IndexError\)"),
        (
            "a.txt",
            "tench\n",
            r"found no wnid in \S+a.txt; it must hold lines such as 'n01440764 tench, Tinca tinca'\.$",
        ),
    ],
)
def test_a_mapping_that_is_none_is_named(name: str, content: str | None, sentence: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match="^imagenet " + sentence):
        read_names(tmp_path / name)


def test_images_that_were_never_sorted_say_so(tmp_path: Path) -> None:
    fill(tmp_path / "val", 3)
    with pytest.raises(
        DataError, match=r"^imagenet found 3 images in \S+val, but no class folders; sort them into one"
    ):
        serve(tmp_path).load("test")


def test_no_path_asks_for_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^imagenet needs the folder of class folders: pass -p dataset.path=DIR\.$"):
        ImageNet().classes()
    with pytest.raises(DataError, match=r"^imagenet found no folder at \S+nowhere; pass"):
        serve(tmp_path / "nowhere").classes()


def test_it_conforms(val: Path) -> None:
    (val / "LOC_synset_mapping.txt").write_text(LINES)
    results = check_component(serve(val, test=0.4, val=0.3))
    assert {result.name: result.sentence for result in results if result.status != "passed"} == {}


def test_coop_s_class_names_lie_beside_its_folder_of_images(val: Path) -> None:
    images = val / "imagenet" / "images"
    images.mkdir(parents=True)
    (val / "val").rename(images / "val")
    (val / "imagenet" / "classnames.txt").write_text(f"{TENCH} tench\n{GOLDFISH} goldfish\n{HAMMERHEAD} hammer shark\n")
    assert serve(images).classes() == ("tench", "goldfish", "hammer shark")
