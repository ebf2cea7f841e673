"""Arrays in .npz files: layouts that people have, and files that are no such thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robench import ContractError, DataError
from robench.plan.references import resolve_reference
from robench.plugin.catalog import catalog
from robench.testing import check_component
from robench_builtins.datasets.npz import Npz

DRAW = np.random.default_rng(0)
IMAGES = DRAW.integers(0, 256, (40, 12, 10, 3), dtype=np.uint8)
LABELS = np.arange(40) % 4


def saved(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "set.npz", **arrays)
    return str(folder / "set.npz")


@pytest.mark.parametrize(
    "images",
    [IMAGES, IMAGES.transpose(0, 3, 1, 2), (IMAGES / 255).astype(np.float32), IMAGES[..., :1], IMAGES[..., 0]],
    ids=["channels last", "channels first", "floats", "grey", "no channels"],
)
def test_images_are_served_as_they_are(images: Any, tmp_path: Path) -> None:
    data = Npz(path=saved(tmp_path, images=images, labels=LABELS[:, None]))
    test = data.load("test")
    wanted = IMAGES.transpose(0, 3, 1, 2)[:, : test.shape[0]]
    served = test.images().numpy()
    assert np.allclose(served if served.dtype == np.uint8 else served * 255, wanted, atol=1e-4)
    assert test.labels.tolist() == LABELS.tolist()
    assert data.classes() == ("0", "1", "2", "3")


@pytest.mark.parametrize("names", [("x_{}", "y_{}"), ("{}_images", "{}_labels")])
def test_parts_are_taken_as_they_are_and_val_is_cut(names: tuple[str, str], tmp_path: Path) -> None:
    arrays = {
        name.format(part): values[rows]
        for part, rows in (("train", slice(0, 28)), ("test", slice(28, 40)))
        for name, values in zip(names, (IMAGES, LABELS), strict=True)
    }
    data = Npz(path=saved(tmp_path, **arrays, classes=np.array(["a", "b", "c", "d"])), size=16)
    assert [len(data.load(split)) for split in ("train", "val", "test")] == [24, 4, 12]  # type: ignore[arg-type]
    assert data.classes() == ("a", "b", "c", "d")
    assert data.load("test").shape == (3, 16, 16)
    results = check_component(data)
    assert {result.name: result.sentence for result in results if result.status == "failed"} == {}
    assert resolve_reference(catalog(), "dataset", "npz:a.npz") == ("npz", {"path": "a.npz"})


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"pixels": IMAGES}, "holds pixels; name its arrays images and labels"),
        ({"images": IMAGES, "labels": LABELS[:3]}, "holds images (40, 12, 10, 3) and 3 labels"),
        ({"images": IMAGES[..., :2], "labels": LABELS}, "with 1 or 3 channels"),
        ({"images": IMAGES, "labels": LABELS - 1}, "has the label -1 and"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(["a", "b"])}, "has the label 3 and 2 classes"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(["a", "a", "b", "c"])}, "have one name"),
        ({"images": IMAGES, "labels": np.array([object()] * 40)}, "without arrays of objects"),
    ],
)
def test_what_cannot_be_served_is_told(arrays: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        Npz(path=saved(tmp_path, **arrays)).load("test")
    assert says in str(caught.value)


def test_no_npz_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK nothing")
    for path in (tmp_path / "a.npz", tmp_path / "absent.npz"):
        with pytest.raises(DataError, match="npz cannot read"):
            Npz(path=str(path)).load("test")
    with pytest.raises(DataError, match="write npz:FILE"):
        Npz().load("test")


def test_numbers_outside_0_to_1_are_refused(tmp_path: Path) -> None:
    with pytest.raises((ContractError, DataError), match="npz:"):
        Npz(path=saved(tmp_path, images=IMAGES.astype(np.float64), labels=LABELS)).load("test")
