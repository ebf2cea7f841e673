"""ImageNet-R, -A, -Sketch and V2 on small copies of their layouts: which folder is which class, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from robench import DataError, decode_image
from robench.plan.references import resolve_reference
from robench.plugin.catalog import catalog
from robench.testing import check_component
from robench_builtins.datasets.imagenet_variants import VARIANTS
from robench_builtins.datasets.shared.imagenet_wnids import thousand, wnids

from .wds_layouts import picture

#: Two images a class, a colour each, so that a class is known by its pixels.
CONTENT = [picture(seed, (8, 8)) for seed in range(7)]
FIVE = ("imagenet-a", "imagenet-r")


def folders(name: str) -> list[str]:
    """Return the class folders of a set in label order."""
    if name == "imagenet-v2":
        return [str(label) for label in range(1000)]
    return list(wnids()[::5] if name in FIVE else wnids())


def write(place: Path, name: str) -> Path:
    for label, folder in enumerate(folders(name)):
        (place / folder).mkdir(parents=True)
        for row in range(2):
            (place / folder / f"{row}.JPEG").write_bytes(CONTENT[label % len(CONTENT)])
    (place / "README.txt").write_text("no class")
    return place


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all four as their authors pack them."""
    root = tmp_path_factory.mktemp("variants")
    for kind in VARIANTS:
        write(root / kind.places[0], kind.name)
    return root


def build(name: str, path: Path | str, **parameters: Any) -> Any:
    return catalog().find("dataset", name).build({"path": str(path), "size": 8, **parameters})


@pytest.mark.parametrize("kind", VARIANTS)
def test_classes_are_those_of_the_thousand_in_label_order(kind: Any, copies: Path) -> None:
    data = build(kind.name, copies)
    names = thousand()
    wanted = [names[wnids()[int(folder)] if folder.isdecimal() else folder] for folder in folders(kind.name)]
    assert list(data.classes()) == wanted
    test = data.load("test")
    assert test.labels.tolist() == [label for label in range(len(wanted)) for _ in range(2)]
    few = [0, 2, 10, 11, 150]
    alike = [decode_image(CONTENT[label % len(CONTENT)]) for label in few]
    assert test[[2 * label for label in few]].images().equal(torch.stack(alike))
    assert data.missing() == ()
    assert data.files() == (copies / kind.places[0],)
    assert build(kind.name, copies / kind.places[0]).load("test").fingerprint == test.fingerprint
    assert resolve_reference(catalog(), "dataset", f"{kind.name}:DIR") == (kind.name, {"path": "DIR"})


def test_coop_s_folders_are_found_too(tmp_path: Path) -> None:
    place = write(tmp_path / "imagenet-adversarial" / "imagenet-a", "imagenet-a")
    assert build("imagenet-a", tmp_path).files() == (place,)
    (tmp_path / "imagenet-adversarial" / "classnames.txt").write_text(
        "".join(f"{wnid} class {label}\n" for label, wnid in enumerate(wnids()))
    )
    assert build("imagenet-a", tmp_path).classes()[1] == "class 5"
    kept = build("imagenet-a", tmp_path, classes="0,3")
    assert kept.classes() == ("class 0", "class 15")
    assert kept.load("test").labels.tolist() == [0, 0, 1, 1]


def test_it_conforms(copies: Path) -> None:
    results = check_component(build("imagenet-r", copies))
    assert {result.name: result.sentence for result in results if result.status == "failed"} == {}


@pytest.mark.parametrize("kind", VARIANTS)
def test_what_is_not_there_is_told_with_its_place(kind: Any, tmp_path: Path) -> None:
    data = build(kind.name, tmp_path)
    (sentence,) = data.missing()
    assert sentence.startswith(
        f"{kind.name} ({kind.download_size}) has to be downloaded by hand: unpack {kind.home} into "
    )
    assert f"lie in {tmp_path / kind.places[0]}, or pass -p {kind.name}.path=DIR." in sentence
    with pytest.raises(DataError) as caught:
        data.load("test")
    assert str(caught.value) == sentence


def test_training_on_them_is_refused(copies: Path) -> None:
    with pytest.raises(DataError, match=r"^imagenet-r leaves no train images"):
        build("imagenet-r", copies).load("train")


def link_outside(place: Path) -> None:
    shutil.rmtree(place / wnids()[0])
    (place / wnids()[0]).symlink_to(place / wnids()[5])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda place: shutil.rmtree(place / wnids()[5]), "has 200 classes, and"),
        (lambda place: (place / "n00000001").mkdir() or copy(place, "n00000001"), "is no class of ImageNet's thousand"),
        (lambda place: (place / "extra").mkdir() or copy(place, "extra"), "imagenet-a: 'extra' in"),
        (lambda place: [image.unlink() for image in (place / wnids()[0]).iterdir()], "has 0 images"),
        (link_outside, "are one by a link"),
    ],
)
def test_damaged_copies_are_refused(damage: Callable[[Path], Any], says: str, tmp_path: Path) -> None:
    place = write(tmp_path / "imagenet-a", "imagenet-a")
    damage(place)
    with pytest.raises(DataError) as caught:
        build("imagenet-a", tmp_path).load("test")
    assert says in str(caught.value)


def copy(place: Path, folder: str) -> None:
    for row in range(2):
        (place / folder / f"{row}.JPEG").write_bytes(CONTENT[0])
