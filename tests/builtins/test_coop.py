"""CoOp's splits and few shots, on small sets in the layout of its DATASETS.md, whole, damaged and hostile."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robench import DataError, SpecError
from robench.plan.references import resolve_reference
from robench.plugin.catalog import catalog
from robench.testing import check_component
from robench_builtins.datasets.coop import Coop
from robench_builtins.datasets.shared import coop_splits
from robench_builtins.datasets.shared.coop_splits import LAYOUTS, few_shots, read_splits

from .coop_layouts import COUNTS, coop
from .torchvision_layouts import aircraft


def build(root: Path, name: str = "dtd", **parameters: Any) -> Coop:
    return Coop(set=name, path=str(root), **{"size": 8, **parameters})


def fewshot_of_dassl(items: list[Any], count: int) -> list[Any]:
    """Return what Dassl's generate_fewshot_dataset draws from Python's global generator."""
    tracker: dict[int, list[Any]] = {}
    for item in items:
        tracker.setdefault(item.label, []).append(item)
    return [one for members in tracker.values() for one in random.sample(members, count)]


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "fgvc-aircraft"])
def test_every_set_is_found_in_its_folder_and_where_torchvision_keeps_its_images(name: str, tmp_path: Path) -> None:
    coop(tmp_path / "coop", name)
    coop(tmp_path / "torchvision", name, tmp_path / "torchvision" / LAYOUTS[name].elsewhere)
    served = []
    for place in ("coop", "torchvision"):
        data = build(tmp_path / place, name)
        assert data.missing() == ()
        assert len(data.files()) == 2
        assert data.classes() == ("polka dotted", "banded")
        assert data.templates == (LAYOUTS[name].template,)
        assert data.origin() == name
        assert [len(data.load(split)) for split in ("train", "val", "test")] == [32, 8, 6]
        served.append(data.load("test").fingerprint)
    assert served[0] == served[1]


def test_aircraft_has_its_own_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aircraft(tmp_path, monkeypatch)
    data = build(tmp_path, "fgvc-aircraft", shots=2)
    official = catalog().find("dataset", "fgvc-aircraft").build({"path": str(tmp_path), "size": "8"})
    assert data.classes() == ("707-320", "F-16A/B") == official.classes()  # type: ignore[attr-defined]  # a dataset
    assert data.load("test").fingerprint == official.load("test").fingerprint  # type: ignore[attr-defined]  # likewise
    assert [len(data.load(split)) for split in ("train", "val")] == [4, 4]
    (tmp_path / "fgvc-aircraft-2013b/data/images_variant_val.txt").write_text("1 Concorde\n")
    with pytest.raises(DataError, match=r"images_variant_val.txt names 'Concorde', which is not in variants.txt"):
        build(tmp_path, "fgvc-aircraft").classes()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("shots", [1, 16])
def test_shots_are_those_that_dassl_draws(seed: int, shots: int, tmp_path: Path) -> None:
    parts = read_splits(coop(tmp_path, "dtd"))
    random.seed(seed)
    wanted = {part: fewshot_of_dassl(parts[part], min(shots, most)) for part, most in (("train", shots), ("val", 4))}
    assert few_shots(parts, shots, seed) == {**wanted, "test": parts["test"]}
    train = build(tmp_path, shots=shots, shots_seed=seed).load("train")
    assert train.labels.tolist() == [1] * shots + [0] * shots


def test_all_images_are_for_training_with_no_shots_and_a_small_class_gives_what_it_has(tmp_path: Path) -> None:
    coop(tmp_path, "dtd")
    assert [len(build(tmp_path, shots=0).load(split)) for split in COUNTS] == [40, 12, 6]
    assert [len(build(tmp_path, shots=64).load(split)) for split in COUNTS] == [40, 8, 6]


def test_it_conforms(tmp_path: Path) -> None:
    coop(tmp_path, "oxford-pets")
    results = check_component(build(tmp_path, "oxford-pets"))
    assert {result.name: result.sentence for result in results if result.status != "passed"} == {}
    assert resolve_reference(catalog(), "dataset", "coop:dtd") == ("coop", {"set": "dtd"})


def test_names_and_places_are_told() -> None:
    with pytest.raises(
        SpecError, match=r"^coop has no splits of 'oxfordpets'; did you mean 'coop:oxford-pets'\? Known"
    ):
        Coop(set="oxfordpets")
    with pytest.raises(SpecError, match=r"^coop needs a data set: write coop:NAME with one of caltech101, dtd"):
        Coop().classes()


def test_what_is_not_there_is_told_with_its_place(tmp_path: Path) -> None:
    data = build(tmp_path)
    (sentence,) = data.missing()
    assert sentence == (
        f"coop:dtd cannot be downloaded: put the images into {tmp_path}/dtd/images (or where torchvision keeps them, "
        f"{tmp_path}/dtd/dtd/images) and split_zhou_DescribableTextures.json into {tmp_path}/dtd, as "
        "https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md says, or pass -p coop.path=DIR."
    )
    with pytest.raises(DataError) as caught:
        data.load("test")
    assert str(caught.value) == sentence
    split = coop(tmp_path, "dtd")
    split.unlink()
    assert data.missing() == (sentence,)


def changed(**parts: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: {**content, **parts}


def first(*entry: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: {**content, "test": [list(entry), *content["test"][1:]]}


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda content: [], "has no list 'train'; it must be CoOp's"),
        (changed(test={}), "has no list 'test'"),
        (changed(test=[]), "has no test images"),
        (first("a.jpg", 0), "which is no [image, label, class]"),
        (first("a.jpg", True, "banded"), "which is no [image, label, class]"),
        (first("a.jpg", "0", "banded"), "which is no [image, label, class]"),
        (first("a.jpg", 1, " "), "which is no [image, label, class]"),
        (first("a.jpg", -1, "banded"), "gives 'a.jpg' the class -1"),
        (first("a.jpg", 10**9, "banded"), "gives 'a.jpg' the class 1000000000"),
        (first("a.jpg", 3, "banded"), "has no image of class 2"),
        (first("a.jpg", 0, "banded"), "calls the class 0 'polka_dotted' and 'banded'"),
        (first("../../secret.jpg", 1, "banded"), "names '../../secret.jpg', a path that leads outside"),
        (first("/etc/passwd", 1, "banded"), "names '/etc/passwd', a path that leads outside"),
        (first("C:a.jpg", 1, "banded"), "a path that leads outside"),
        (first("a\\..\\b.jpg", 1, "banded"), "a path that leads outside"),
        (first("a\0.jpg", 1, "banded"), "a path that leads outside"),
        (first("banded/train_0.jpg", 1, "banded"), "names 'banded/train_0.jpg' in train and in test"),
        (first("banded/./train_0.jpg", 1, "banded"), "names 'banded/train_0.jpg' in train and in test"),
    ],
)
def test_damaged_and_hostile_splits_are_refused(damage: Callable[[Any], Any], says: str, tmp_path: Path) -> None:
    split = coop(tmp_path, "dtd")
    split.write_text(json.dumps(damage(json.loads(split.read_text()))))
    with pytest.raises(DataError) as caught:
        build(tmp_path).load("test")
    assert says in str(caught.value)
    assert str(split) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"{", "is not JSON"), (b"[" * 100_000, "is not JSON"), (b"\xff", "cannot read"), (b"", "is not JSON")],
)
def test_what_is_no_file_of_splits_is_told(content: bytes, says: str, tmp_path: Path) -> None:
    coop(tmp_path, "dtd").write_bytes(content)
    with pytest.raises(DataError, match=says):
        build(tmp_path).classes()


def test_a_file_is_no_larger_than_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coop(tmp_path, "dtd")
    monkeypatch.setattr(coop_splits, "MOST_BYTES", 100)
    with pytest.raises(DataError, match="no file of at most 100 bytes"):
        build(tmp_path).classes()


def test_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    coop(tmp_path, "dtd")
    (tmp_path / "dtd/images/banded/test_0.jpg").unlink()
    with pytest.raises(DataError, match=r"banded/test_0.jpg cannot be read \(No such file or directory\)"):
        build(tmp_path).load("test").images()
