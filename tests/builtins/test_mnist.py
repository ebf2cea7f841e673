"""MNIST and Fashion-MNIST in every layout in which they lie about: idx, plain and .gz, torchvision's, one .npz."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from robench import DataError
from robench.testing import check_component
from robench_builtins.datasets.mnist import FashionMnist, Mnist
from robench_builtins.datasets.shared.idx_files import PARTS

TRAIN, TEST = 60, 30


def arrays(train: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return images, no two alike, and labels that go round."""
    count = TRAIN if train else TEST
    draw = np.random.default_rng(int(train))
    return draw.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.arange(count, dtype=np.uint8) % 10


def idx(array: np.ndarray) -> bytes:
    """Write an array as LeCun's page describes the format."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(folder: Path, suffix: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for train, names in PARTS.items():
        for name, array in zip(names, arrays(train), strict=True):
            content = idx(array)
            (folder / f"{name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    return folder


LAYOUTS = {
    "plain": lambda root: write(root),
    "gz, as Debian has them": lambda root: write(root, ".gz"),
    "raw": lambda root: write(root / "raw").parent,
    "torchvision's": lambda root: write(root / "MNIST" / "raw").parents[1],
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for source in (datasets.MNIST, datasets.FashionMNIST):
        monkeypatch.setattr(source, "download", lambda self: pytest.fail("the network was used"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_bytes(layout: str, tmp_path: Path) -> None:
    data = Mnist(path=str(LAYOUTS[layout](tmp_path)), val=20)
    test = data.load("test")
    pixels, labels = arrays(train=False)
    assert test.shape == (1, 28, 28)
    assert np.array_equal(test.images().numpy()[:, 0], pixels)
    assert test.labels.tolist() == labels.tolist()


@pytest.mark.parametrize("kind", [Mnist, FashionMnist])
def test_an_npz_file_with_the_four_arrays_is_read(kind: type[Mnist], tmp_path: Path) -> None:
    parts = {"train": arrays(train=True), "test": arrays(train=False)}
    named = {f"{letter}_{part}": pair[place] for part, pair in parts.items() for place, letter in enumerate("xy")}
    np.savez(tmp_path / "mnist.npz", **named)
    data = kind(path=str(tmp_path / "mnist.npz"), val=10)
    assert [len(data.load(split)) for split in ("train", "val", "test")] == [50, 10, 30]
    assert data.files() == (tmp_path / "mnist.npz",)


def test_torchvision_reads_the_same_files_the_same(tmp_path: Path) -> None:
    root = LAYOUTS["torchvision's"](tmp_path)
    official = datasets.MNIST(root, train=False)
    ours = Mnist(path=str(root), val=20).load("test")
    assert torch.equal(official.data, ours.images()[:, 0])
    assert torch.equal(official.targets, ours.labels)


def test_splits_are_stratified_disjoint_and_of_the_sizes_asked_for(tmp_path: Path) -> None:
    data = Mnist(path=str(write(tmp_path)), val=20, train=30)
    splits = {split: data.load(split) for split in ("train", "val", "test")}
    assert {split: torch.bincount(part.labels).tolist() for split, part in splits.items()} == {
        "train": [3] * 10,
        "val": [2] * 10,
        "test": [3] * 10,
    }
    images = [{image.numpy().tobytes() for image in part.images()} for part in splits.values()]
    assert len(set().union(*images)) == 80
    other = Mnist(path=str(tmp_path), val=20, split_seed=1)
    assert other.load("val").fingerprint != splits["val"].fingerprint
    assert other.load("test").fingerprint == splits["test"].fingerprint


def test_the_defaults_leave_the_official_counts() -> None:
    labels = [row % 10 for row in range(60000)]
    assert [len(Mnist().rows(labels, split)) for split in ("train", "val")] == [55000, 5000]


def test_too_much_asked_says_how_much_there_is(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"^mnist has 60 train images, so val=5000 leaves 0 for train=all; lower one of"
    ):
        Mnist(path=str(write(tmp_path))).load("val")


def test_a_local_copy_enters_the_fingerprint_and_the_official_files_do_not(tmp_path: Path) -> None:
    write(tmp_path, ".gz")
    assert sorted(file.name for file in Mnist(path=str(tmp_path)).files()) == sorted(
        f"{name}.gz" for names in PARTS.values() for name in names
    )
    assert Mnist(path=str(tmp_path / "nowhere")).files() == ()
    assert Mnist().files() == ()


def test_an_installed_copy_is_found_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBENCH_DATA", str(tmp_path / "empty"))
    monkeypatch.setattr(FashionMnist, "installed", (str(write(tmp_path / "installed", ".gz")),))
    assert len(FashionMnist(val=20).load("test")) == TEST
    write(tmp_path / "empty" / "FashionMNIST" / "raw")
    monkeypatch.setattr(FashionMnist, "installed", ())
    assert len(FashionMnist(val=20).load("test")) == TEST


@pytest.mark.parametrize(
    ("kind", "mirror", "folder"),
    [(Mnist, "https://ossci-datasets", "MNIST"), (FashionMnist, "http://fashion-mnist.s3-website", "FashionMNIST")],
)
def test_offline_says_what_is_missing_where_to_get_it_and_where_to_put_it(
    kind: type[Mnist], mirror: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError) as caught:
        kind(path=str(tmp_path)).load("test")
    message = str(caught.value)
    assert message.startswith(f"{kind.name} is not in {tmp_path} and the run is offline: download train-images-idx3")
    assert f"from {mirror}" in message
    assert message.endswith(f"into {tmp_path / folder / 'raw'}; or name their folder with -p dataset.path=DIR.")


def test_online_torchvision_downloads_and_a_failing_network_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_OFFLINE", "ROBENCH_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(datasets.MNIST, "download", lambda self: write(Path(self.raw_folder)))
    assert len(Mnist(path=str(tmp_path / "a"), val=20).load("val")) == 20

    monkeypatch.setattr(datasets.MNIST, "__init__", lambda self, root, download: None)
    with pytest.raises(DataError, match=r"^mnist was downloaded to \S+, but its files are not there; empty the folder"):
        Mnist(path=str(tmp_path / "c")).load("val")

    def fail(self: datasets.MNIST, root: Path, download: bool) -> None:
        raise RuntimeError("no route to host")

    monkeypatch.setattr(datasets.MNIST, "__init__", fail)
    with pytest.raises(DataError, match=r"^mnist could not be downloaded \(no route to host\): download train-images"):
        Mnist(path=str(tmp_path / "b")).load("val")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, ".gz")
    images = tmp_path / "t10k-images-idx3-ubyte.gz"
    images.write_bytes(images.read_bytes()[:-20])
    with pytest.raises(
        DataError, match=r"^mnist cannot read \S+t10k-images-idx3-ubyte.gz \(.*\); download it again\.$"
    ):
        Mnist(path=str(tmp_path)).load("test")
    for content in (b"", b"\0\0\x08\3", idx(arrays(train=False)[0])[:-1], b"\0\0\x0d\1" + bytes(8)):
        images.write_bytes(gzip.compress(content))
        with pytest.raises(
            DataError, match=r"found no whole idx file of bytes at \S+t10k-images\S+; download it again"
        ):
            Mnist(path=str(tmp_path)).load("test")


def test_arrays_of_other_things_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match=r"cannot read x_test and y_test from \S+ \(FileNotFoundError\); it must be an"):
        Mnist(path=str(path)).load("test")
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"cannot read x_test and y_test from"):
        Mnist(path=str(path)).load("test")
    np.savez(path, x_test=np.zeros((3, 32, 32), np.uint8), y_test=np.zeros(3, np.int64))
    with pytest.raises(DataError, match=r"found uint8 images \(3, 32, 32\) and labels \(3,\) in \S+; it needs bytes"):
        Mnist(path=str(path)).load("test")
    np.savez(path, x_test=np.zeros((3, 28, 28), np.uint8), y_test=np.array([1, 2, 10]))
    with pytest.raises(DataError, match="N labels from 0 to 9"):
        Mnist(path=str(path)).load("test")
    with pytest.raises(DataError, match=r"cannot read x_train and y_train from \S+ \(KeyError\)"):
        Mnist(path=str(path)).load("train")


@pytest.mark.parametrize("kind", [Mnist, FashionMnist])
def test_they_conform(kind: type[Mnist], tmp_path: Path) -> None:
    results = check_component(kind(path=str(write(tmp_path)), val=20))
    assert {result.name: result.sentence for result in results if result.status == "failed"} == {}
    assert {result.name for result in results if result.status == "passed"} >= {"disjoint splits", "repeatable"}


@pytest.mark.kit
def test_the_real_scans_are_the_digits_they_are_labelled(kit: Path) -> None:
    data = Mnist(path=str(kit / "mnist-subset.npz"), val=1000)
    train, test = data.load("train"), data.load("test")
    assert (len(train), len(test)) == (9000, 2000)
    means = torch.stack([train.images()[train.labels == digit].float().mean(0).flatten() for digit in range(10)])
    nearest = torch.cdist(test.images().float().flatten(1), means).argmin(1)
    assert (nearest == test.labels).float().mean() > 0.78  # nearest class mean; measured: 80.2 %
