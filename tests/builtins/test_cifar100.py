"""CIFAR-100 through torchvision's own reader, on small files in the official layout."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR100

from robench import DataError
from robench.testing import check_component
from robench_builtins.datasets.cifar100 import Cifar100

TRAIN, TEST = 400, 100


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in the official layout whose checksums torchvision takes."""
    folder = tmp_path / CIFAR100.base_folder
    folder.mkdir()
    draw = np.random.default_rng(0)

    def write(name: str, content: object) -> list[str]:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data, usedforsecurity=False).hexdigest()]

    def part(name: str, count: int) -> list[str]:
        pixels = draw.integers(0, 256, (count, 3072), dtype=np.uint8)
        fine = [row % 100 for row in range(count)]
        return write(name, {"data": pixels, "fine_labels": fine, "coarse_labels": [label // 5 for label in fine]})

    monkeypatch.setattr(CIFAR100, "train_list", [part("train", TRAIN)])
    monkeypatch.setattr(CIFAR100, "test_list", [part("test", TEST)])
    names = [name.replace(" ", "_") for name in Cifar100().classes()]
    meta = write("meta", {"fine_label_names": names})
    monkeypatch.setattr(CIFAR100, "meta", {"filename": meta[0], "key": "fine_label_names", "md5": meta[1]})
    return tmp_path


def test_there_are_a_hundred_names_in_alphabetical_order() -> None:
    names = Cifar100().classes()
    assert len(set(names)) == 100
    assert list(names) == sorted(names)
    assert names[:3] == ("apple", "aquarium fish", "baby")
    assert (names[41], names[58], names[99]) == ("lawn mower", "pickup truck", "worm")


def test_images_and_fine_labels_are_the_official_ones(root: Path) -> None:
    with (root / CIFAR100.base_folder / "test").open("rb") as file:
        official = pickle.load(file)  # noqa: S301 - written by this test
    examples = Cifar100(path=str(root), val=100).load("test")
    assert np.array_equal(examples.images().numpy(), official["data"].reshape(-1, 3, 32, 32))
    assert examples.labels.tolist() == official["fine_labels"]


def test_val_is_cut_from_train_stratified_and_disjoint(root: Path) -> None:
    data = Cifar100(path=str(root), val=100, train=200)
    splits = {split: data.load(split) for split in ("train", "val", "test")}
    assert [len(part) for part in splits.values()] == [200, 100, 100]
    assert torch.bincount(splits["val"].labels).tolist() == [1] * 100
    assert torch.bincount(splits["train"].labels).tolist() == [2] * 100
    assert len({image.numpy().tobytes() for part in splits.values() for image in part.images()}) == 400
    with pytest.raises(DataError, match=r"^cifar100 has 400 train images, so val=5000 leaves 0 for train=all; lower"):
        Cifar100(path=str(root)).load("train")


def test_the_unpacked_folder_itself_may_be_named(root: Path) -> None:
    inside, outside = (Cifar100(path=str(path)) for path in (root / CIFAR100.base_folder, root))
    assert inside.load("test").fingerprint == outside.load("test").fingerprint


def test_offline_says_which_file_is_missing_where_to_get_it_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBENCH_OFFLINE", "1")
    monkeypatch.setattr(CIFAR100, "download", lambda self: pytest.fail("the network was used"))
    with pytest.raises(DataError) as caught:
        Cifar100(path=str(tmp_path)).load("test")
    folder = tmp_path / "cifar-100-python"
    assert str(caught.value) == (
        f"cifar100 needs {folder / 'train'}, which is missing or damaged and the run is offline: download "
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz (MD5 eb9058c3a382ffc7106e4002c42a8d85), put "
        f"it at {tmp_path / 'cifar-100-python.tar.gz'} and unpack it there, so that {folder} exists; or name another "
        "folder with -p dataset.path=DIR."
    )


def test_a_damaged_file_is_never_unpickled(root: Path) -> None:
    (root / CIFAR100.base_folder / "train").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"^cifar100 needs \S+train, which is missing or damaged"):
        Cifar100(path=str(root), val=100).load("train")


def test_it_conforms(root: Path) -> None:
    results = check_component(Cifar100(path=str(root), val=100))
    assert {result.name: result.sentence for result in results if result.status != "passed"} == {}
