"""CIFAR-10 through torchvision's own reader, on small batches in the official layout."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from robench import DataError
from robench.testing import check_component
from robench_builtins.datasets.cifar10 import Cifar10

PER_BATCH = 40


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in the official layout, 5 x 40 train and 40 test images, whose checksums torchvision takes."""
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    draw = np.random.default_rng(0)

    def write(name: str, content: object) -> list[str]:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data, usedforsecurity=False).hexdigest()]

    def batch(name: str) -> list[str]:
        pixels = draw.integers(0, 256, (PER_BATCH, 3072), dtype=np.uint8)
        return write(name, {"data": pixels, "labels": [row % 10 for row in range(PER_BATCH)]})

    monkeypatch.setattr(CIFAR10, "train_list", [batch(f"data_batch_{number}") for number in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch")])
    meta = write("batches.meta", {"label_names": list(Cifar10().classes())})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]})
    return tmp_path


def served(dataset: Cifar10, split: str) -> set[bytes]:
    return {image.numpy().tobytes() for image in dataset.load(split).images()}


def test_the_defaults_leave_the_official_counts() -> None:
    dataset = Cifar10()
    labels = [row % 10 for row in range(50000)]
    assert len(dataset._rows(labels, "val")) == 5000
    assert len(dataset._rows(labels, "train")) == 45000
    assert not set(dataset._rows(labels, "val")) & set(dataset._rows(labels, "train"))


def test_it_conforms(root: Path) -> None:
    results = check_component(Cifar10(root=str(root), val=50))
    assert {result.name: result.sentence for result in results if result.status == "failed"} == {}
    assert next(result for result in results if result.name == "disjoint splits").status == "passed"


def test_val_is_cut_from_train_stratified_and_disjoint(root: Path) -> None:
    dataset = Cifar10(root=str(root), val=50)
    assert [len(dataset.load(split)) for split in ("train", "val", "test")] == [150, 50, 40]
    assert torch.bincount(dataset.load("val").labels).tolist() == [5] * 10
    parts = [served(dataset, split) for split in ("train", "val", "test")]
    assert len(set().union(*parts)) == 240


def test_the_seed_decides_the_cut_and_nothing_else(root: Path) -> None:
    first, again, other = (Cifar10(root=str(root), val=50, split_seed=seed) for seed in (0, 0, 1))
    assert first.load("val").fingerprint == again.load("val").fingerprint
    assert first.load("val").fingerprint != other.load("val").fingerprint
    assert first.load("test").fingerprint == other.load("test").fingerprint


def test_fewer_train_images_are_a_stratified_part_of_more(root: Path) -> None:
    few = Cifar10(root=str(root), val=50, train=20)
    assert torch.bincount(few.load("train").labels).tolist() == [2] * 10
    assert served(few, "train") < served(Cifar10(root=str(root), val=50), "train")


def test_images_are_the_official_bytes(root: Path) -> None:
    with (root / CIFAR10.base_folder / "test_batch").open("rb") as file:
        official = pickle.load(file)  # noqa: S301 - written by this test
    examples = Cifar10(root=str(root), val=50).load("test")
    assert np.array_equal(examples.images().numpy(), official["data"].reshape(-1, 3, 32, 32))
    assert examples.labels.tolist() == official["labels"]


def test_too_much_asked_says_how_much_there_is(root: Path) -> None:
    with pytest.raises(DataError, match=r"^cifar10 has 200 train images, so val=50 leaves 150 for train=151; lower"):
        Cifar10(root=str(root), val=50, train=151).load("train")
    with pytest.raises(DataError, match=r"val=5000 leaves 0 for train=all"):
        Cifar10(root=str(root)).load("val")


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "ROBENCH_OFFLINE"])
def test_offline_says_which_file_is_missing_where_to_get_it_and_where_to_put_it(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(CIFAR10, "download", lambda self: pytest.fail("the network was used"))
    with pytest.raises(DataError) as caught:
        Cifar10(root=str(tmp_path)).load("test")
    message = str(caught.value)
    assert f"cifar10 needs {tmp_path / 'cifar-10-batches-py' / 'data_batch_1'}, which is missing" in message
    assert "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz" in message
    assert f"put it at {tmp_path / 'cifar-10-python.tar.gz'}" in message
    assert "-p dataset.root=DIR" in message


def test_a_damaged_file_is_never_unpickled(root: Path) -> None:
    (root / CIFAR10.base_folder / "data_batch_3").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"needs \S+data_batch_3, which is missing or damaged"):
        Cifar10(root=str(root), val=50).load("train")


def test_online_it_downloads_and_a_failing_network_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: CIFAR10) -> None:
        raise OSError("no route to host")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(CIFAR10, "download", fail)
    with pytest.raises(DataError, match=r"could not be downloaded or read \(no route to host\): download https"):
        Cifar10(root=str(tmp_path)).load("test")


def test_the_folder_is_the_users_unless_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROBENCH_DATA", raising=False)
    assert Cifar10()._folder().parts[-2:] == ("robench", "data")
    monkeypatch.setenv("ROBENCH_DATA", str(tmp_path))
    assert Cifar10()._folder() == tmp_path
    assert Cifar10(root="/elsewhere")._folder() == Path("/elsewhere")
