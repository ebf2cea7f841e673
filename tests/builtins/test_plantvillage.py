"""PlantVillage: names in every spelling, one crop of several, and a train split balanced by turned copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robench import DataError, Examples
from robench.plugin.catalog import catalog
from robench.testing import check_component
from robench_builtins.datasets.plantvillage import PlantVillage, read_name
from robench_builtins.datasets.shared.class_balancing import balanced, derived, turn

FOLDERS = (
    "Potato___Early_blight",
    "Potato___healthy",
    "Tomato_Bacterial_spot",
    "Tomato__Target_Spot",
    "Tomato_healthy",
)


def fill(folder: Path, count: int) -> None:
    """Write photos that have no symmetry and are all different."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(sum(str(folder).encode()))
    for number in range(count):
        pixels = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"leaf {number}.{'JPG' if number % 2 else 'png'}")


@pytest.fixture
def leaves(tmp_path: Path) -> Path:
    for place, name in enumerate(FOLDERS):
        fill(tmp_path / name, 10 + 2 * place)
    return tmp_path


def serve(path: Path | str, **parameters: object) -> PlantVillage:
    return PlantVillage(path=str(path), **{"size": 16, **parameters})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("Tomato_Bacterial_spot", "tomato bacterial spot"),
        ("Tomato___Bacterial_spot", "tomato bacterial spot"),
        ("Tomato__Tomato_YellowLeaf__Curl_Virus", "tomato yellow leaf curl virus"),
        ("Tomato___Tomato_Yellow_Leaf_Curl_Virus", "tomato yellow leaf curl virus"),
        ("Tomato__Tomato_mosaic_virus", "tomato mosaic virus"),
        ("Tomato_Spider_mites_Two_spotted_spider_mite", "tomato spider mites two spotted spider mite"),
        ("Tomato___Spider_mites Two-spotted_spider_mite", "tomato spider mites two spotted spider mite"),
        ("Pepper__bell___Bacterial_spot", "pepper bell bacterial spot"),
        ("Pepper,_bell___healthy", "pepper bell healthy"),
        ("Corn_(maize)___Common_rust_", "corn (maize) common rust"),
        ("Cherry_(including_sour)___Powdery_mildew", "cherry (including sour) powdery mildew"),
    ],
)
def test_every_spelling_of_a_folder_reads_as_words(folder: str, name: str) -> None:
    assert read_name(folder) == name


@pytest.mark.kit
def test_the_real_tomatoes_are_named_and_split_as_they_lie(kit: Path) -> None:
    data = serve(kit / "plantvillage-tomato", crop="tomato", size=64)
    assert data.classes() == (
        "tomato bacterial spot",
        "tomato early blight",
        "tomato late blight",
        "tomato leaf mold",
        "tomato septoria leaf spot",
        "tomato spider mites two spotted spider mite",
        "tomato target spot",
        "tomato yellow leaf curl virus",
        "tomato mosaic virus",
        "tomato healthy",
    )
    counts = {split: data.load(split).labels.bincount().tolist() for split in ("train", "val", "test")}
    assert counts == {"train": [36] * 10, "val": [4] * 10, "test": [20] * 10}
    assert data.load("test").shape == (3, 64, 64)
    many = serve(kit / "plantvillage-tomato", balance=80, size=64)
    assert many.load("train").labels.bincount().tolist() == [80] * 10
    assert many.load("test").fingerprint == data.load("test").fingerprint


def test_one_crop_of_several(leaves: Path) -> None:
    assert serve(leaves).classes()[:3] == ("potato early blight", "potato healthy", "tomato bacterial spot")
    tomato = serve(leaves, crop="Tomato")
    assert tomato.classes() == ("tomato bacterial spot", "tomato target spot", "tomato healthy")
    assert tomato.load("test").labels.bincount().tolist() == [3, 3, 4]  # a fifth of 14, 16 and 18
    with pytest.raises(
        DataError, match=r"^plantvillage found no class of the crop 'tom' in \S+; crops there: potato, to"
    ):
        serve(leaves, crop="tom").classes()


@pytest.mark.parametrize("inside", ["PlantVillage", "raw/color", "plantvillage dataset/color"])
def test_the_archives_own_folders_are_looked_into(inside: str, tmp_path: Path) -> None:
    for name in FOLDERS:
        fill(tmp_path / inside / name, 5)
    (tmp_path / "readme").mkdir()
    assert serve(tmp_path).classes() == serve(tmp_path / inside).classes()
    assert len(serve(tmp_path).classes()) == len(FOLDERS)


def test_no_path_or_a_wrong_one_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"^plantvillage needs a copy of the photos: pass -p dataset.path=DIR with the f"
    ):
        PlantVillage().classes()
    with pytest.raises(DataError, match=r"^plantvillage found no folder at \S+nowhere; pass -p dataset.path=DIR"):
        serve(tmp_path / "nowhere").load("test")


def test_it_is_written_with_a_colon(leaves: Path) -> None:
    from robench.plan.references import resolve_reference

    assert resolve_reference(catalog(), "dataset", f"plantvillage:{leaves}") == ("plantvillage", {"path": str(leaves)})
    assert resolve_reference(catalog(), "dataset", f"folder:{leaves}") == ("imagefolder", {"path": str(leaves)})


def pictures(counts: list[int], shape: tuple[int, int] = (6, 6)) -> Examples:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    images = torch.randint(0, 256, (len(labels), 3, *shape), generator=torch.Generator().manual_seed(0))
    return Examples.from_tensors(images.to(torch.uint8), torch.tensor(labels))


def orbit(image: torch.Tensor, ways: range) -> set[bytes]:
    return {turn(image, way).numpy().tobytes() for way in ways}


def test_balanced_serves_as_many_of_each_class_and_no_two_alike() -> None:
    base = pictures([2, 5, 30])
    even = balanced(base, 16, seed=0, name="x", classes="abc")
    assert even.labels.bincount().tolist() == [16, 16, 16]
    assert len({image.numpy().tobytes() for image in even.images()}) == 48
    for label in range(3):
        allowed = set().union(*(orbit(image, range(8)) for image in base.images()[base.labels == label]))
        mine = {image.numpy().tobytes() for image in even.images()[even.labels == label]}
        assert mine <= allowed
    first = {image.numpy().tobytes() for image in even.images()[even.labels == 0]}
    assert first == set().union(*(orbit(image, range(8)) for image in base.images()[:2]))  # all sixteen there are


def test_every_original_is_served_before_a_copy_and_copied_once_before_twice() -> None:
    base = pictures([4])
    originals = [image.numpy().tobytes() for image in base.images()]
    served = [image.numpy().tobytes() for image in balanced(base, 11, seed=0, name="x", classes="a").images()]
    assert sorted(served[:4]) == sorted(originals)
    owners = [
        next(row for row, image in enumerate(base.images()) if picture in orbit(image, range(8))) for picture in served
    ]
    assert sorted(owners[4:8]) == [0, 1, 2, 3]
    assert owners[:4] == owners[4:8]


def test_balancing_is_seeded_and_known_by_its_fingerprint() -> None:
    base = pictures([3, 5])
    first, again, other = (balanced(base, 9, seed, "x", "ab").fingerprint for seed in (0, 0, 1))
    assert first == again != other
    assert balanced(base, 8, 0, "x", "ab").fingerprint != first


def test_pictures_that_are_not_square_keep_their_sides() -> None:
    base = pictures([3], shape=(4, 6))
    images = balanced(base, 12, 0, "x", "a").images()
    assert images.shape == (12, 3, 4, 6)
    assert len({image.numpy().tobytes() for image in images}) == 12


def test_more_than_there_are_ways_to_turn_says_so(leaves: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"^x has 3 train images of 'red fox', which turned and mirrored give 24, fewer than balance=25; lower",
    ):
        balanced(pictures([3]), 25, 0, "x", ["red fox"])
    with pytest.raises(DataError, match=r"^plantvillage has 7 train images of 'potato early blight', which"):
        serve(leaves, balance=57).load("train")


def test_balance_changes_the_train_split_alone(leaves: Path) -> None:
    plain, even = serve(leaves), serve(leaves, balance=20)
    assert even.load("train").labels.bincount().tolist() == [20] * 5
    for split in ("val", "test"):
        assert even.load(split).fingerprint == plain.load(split).fingerprint
    kept = {image.numpy().tobytes() for image in plain.load("test").images()}
    turned = {view for image in even.load("train").images() for view in orbit(image, range(8))}
    assert not kept & turned


def test_derived_examples_are_the_rows_they_name() -> None:
    base = pictures([3, 3])
    part = derived(base, [5, 0, 2], [1, 0, 0])
    assert torch.equal(part.images(), base.images()[[5, 0, 2]])
    assert part.labels.tolist() == [1, 0, 0]
    assert torch.equal(part[1:].images(), base.images()[[0, 2]])
    assert part.fingerprint != derived(base, [5, 0, 1], [1, 0, 0]).fingerprint


def test_it_conforms(leaves: Path) -> None:
    results = check_component(serve(leaves, crop="tomato", balance=20))
    assert {result.name: result.sentence for result in results if result.status != "passed"} == {}
