"""Small copies of data sets in the layouts in which their authors publish them, as torchvision reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets as official
from PIL import Image

#: Images a class and part.
COUNT = 4
#: Side of images that have a size of their own choice: wider than high.
WIDE = (30, 20)


def pixels(seed: int, height: int, width: int) -> Any:
    """Return random pixels (H, W, 3), always the same for a seed."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def put(path: Path, seed: int, size: tuple[int, int] = WIDE) -> None:
    """Write the picture of a seed as PNG, whatever the path's suffix says, so as to lose nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, size[1], size[0])).save(path, format="PNG")


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def stl10(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "stl10_binary"
    folder.mkdir()
    lists: dict[str, list[list[str]]] = {"train": [], "test": []}
    for part, seed in (("train", 0), ("test", 100)):
        images = np.stack([pixels(seed + row, 96, 96) for row in range(10 * COUNT)])
        images.transpose(0, 3, 2, 1).tofile(folder / f"{part}_X.bin")
        np.array([row % 10 + 1 for row in range(10 * COUNT)], dtype=np.uint8).tofile(folder / f"{part}_y.bin")
        lists[part] = [[name, md5(folder / name)] for name in (f"{part}_X.bin", f"{part}_y.bin")]
    (folder / "unlabeled_X.bin").write_bytes(b"")
    names = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
    (folder / "class_names.txt").write_text("\n".join(names))
    unlabeled = ["unlabeled_X.bin", md5(folder / "unlabeled_X.bin")]
    monkeypatch.setattr(official.STL10, "train_list", [*lists["train"], unlabeled])
    monkeypatch.setattr(official.STL10, "test_list", lists["test"])


def svhn(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    sums = dict(official.SVHN.split_list)
    for part, seed in (("train", 0), ("test", 100)):
        images = np.stack([pixels(seed + row, 32, 32) for row in range(10 * COUNT)], axis=-1)
        labels = np.array([[row % 10 or 10] for row in range(10 * COUNT)], dtype=np.uint8)
        savemat(root / f"{part}_32x32.mat", {"X": images, "y": labels})
        sums[part] = [*sums[part][:2], md5(root / f"{part}_32x32.mat")]
    monkeypatch.setattr(official.SVHN, "split_list", sums)


def food101(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part, seed in (("train", 0), ("test", 100)):
        names = {dish: [f"{dish}/{seed + row}" for row in range(COUNT)] for dish in ("pho", "apple_pie")}
        for place, entry in enumerate(entry for entries in names.values() for entry in entries):
            put(root / "food-101" / "images" / f"{entry}.jpg", seed + place)
        meta = root / "food-101" / "meta"
        meta.mkdir(exist_ok=True)
        (meta / f"{part}.json").write_text(json.dumps(names))


def flowers102(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    folder = root / "flowers-102"
    for number in range(1, 3 * 204 + 1):
        put(folder / "jpg" / f"image_{number:05d}.jpg", number, (4, 4))
    labels = np.array([(number % 102) + 1 for number in range(1, 3 * 204 + 1)])
    parts = np.arange(1, 3 * 204 + 1).reshape(3, 204)
    savemat(folder / "imagelabels.mat", {"labels": labels})
    savemat(folder / "setid.mat", {"trnid": parts[0], "valid": parts[1], "tstid": parts[2]})
    names = {"image": "102flowers.tgz", "label": "imagelabels.mat", "setid": "setid.mat"}
    sums = {key: (name, md5(folder / name) if key != "image" else "") for key, name in names.items()}
    monkeypatch.setattr(official.Flowers102, "_file_dict", sums)


def pets(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    for part, seed in (("trainval", 0), ("test", 100)):
        lines = []
        for breed, name in enumerate(("Abyssinian", "american_bulldog"), 1):
            for row in range(COUNT):
                put(folder / "images" / f"{name}_{seed + row}.jpg", seed + 10 * breed + row)
                lines.append(f"{name}_{seed + row} {breed} {breed} 1")
        (folder / "annotations" / f"{part}.txt").write_text("\n".join(lines) + "\n")


def dtd(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "dtd" / "dtd"
    (folder / "labels").mkdir(parents=True)
    for seed, part in enumerate(("train", "val", "test")):
        lines = []
        for place, name in enumerate(("banded", "polka-dotted")):
            for row in range(COUNT):
                put(folder / "images" / name / f"{name}_{seed}{row}.jpg", 100 * seed + 10 * place + row)
                lines.append(f"{name}/{name}_{seed}{row}.jpg")
        (folder / "labels" / f"{part}1.txt").write_text("\n".join(lines) + "\n")


def aircraft(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "fgvc-aircraft-2013b" / "data"
    names = ("707-320", "F-16A/B")
    for seed, part in enumerate(("train", "val", "test")):
        lines = []
        for place, name in enumerate(names):
            for row in range(COUNT):
                put(folder / "images" / f"{seed}{place}{row:05d}.jpg", 100 * seed + 10 * place + row)
                lines.append(f"{seed}{place}{row:05d} {name}")
        (folder / f"images_variant_{part}.txt").write_text("\n".join(lines) + "\n")
    (folder / "variants.txt").write_text("\n".join(names) + "\n")


def pcam(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py = pytest.importorskip("h5py")
    folder = root / "pcam"
    folder.mkdir()
    for seed, part in enumerate(("train", "val", "test")):
        files = official.PCAM._FILES[part]
        with h5py.File(folder / files["images"][0], "w") as file:
            file["x"] = np.stack([pixels(100 * seed + row, 96, 96) for row in range(2 * COUNT)])
        with h5py.File(folder / files["targets"][0], "w") as file:
            file["y"] = (np.arange(2 * COUNT) % 2).reshape(-1, 1, 1, 1).astype(np.uint8)


def country211(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, part in enumerate(("train", "valid", "test")):
        for place, code in enumerate(("AD", "XK")):
            for row in range(COUNT):
                put(root / "country211" / part / code / f"{row}.jpg", 100 * seed + 10 * place + row)


def cars(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    kind = [("fname", "O"), ("class", "i4")]
    for part, seed, name in (("train", 0, "devkit/cars_train_annos"), ("test", 100, "cars_test_annos_withlabels")):
        rows = [(f"{row:05d}.jpg", row % 2 + 1) for row in range(2 * COUNT)]
        for row, (file, _) in enumerate(rows):
            put(folder / f"cars_{part}" / file, seed + row)
        savemat(folder / f"{name}.mat", {"annotations": np.array(rows, dtype=kind)})
    names = np.array(["AM General Hummer SUV 2000", "Acura RL Sedan 2012"], dtype=object)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names})


def sun397(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "SUN397"
    for place, name in enumerate(("/a/airport_terminal", "/a/apse/indoor")):
        for row in range(COUNT):
            put(folder / name[1:] / f"sun_{place}{row}.jpg", 10 * place + row)
    (folder / "ClassName.txt").write_text("/a/airport_terminal\n/a/apse/indoor\n")


EUROSAT = [
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
]


def eurosat(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in enumerate(EUROSAT):
        for row in range(COUNT):
            put(root / "eurosat" / "2750" / name / f"{name}_{row + 1}.jpg", 10 * place + row, (64, 64))


def caltech101(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in enumerate(("BACKGROUND_Google", "Faces_easy", "airplanes")):
        for row in range(1, COUNT + 1):
            put(root / "caltech101/101_ObjectCategories" / name / f"image_{row:04d}.jpg", 10 * place + row)


def caltech256(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in enumerate(("001.ak47", "251.airplanes-101")):
        for row in range(1, COUNT + 1):
            put(root / "caltech256/256_ObjectCategories" / name / f"{name[:3]}_{row:04d}.jpg", 10 * place + row)


def gtsrb(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for label in range(43):
        for row in range(COUNT):
            put(root / f"gtsrb/GTSRB/Training/{label:05d}/{row:05d}.ppm", 10 * label + row, (8, 8))
            put(root / f"gtsrb/GTSRB/Final_Test/Images/{label:02d}{row:03d}.ppm", 1000 + 10 * label + row, (8, 8))
            lines.append(f"{label:02d}{row:03d}.ppm;8;8;1;1;7;7;{label}")
    (root / "gtsrb" / "GT-final_test.csv").write_text("\n".join(lines) + "\n")


#: Name of the component -> what writes its layout.
LAYOUTS: dict[str, Callable[[Path, pytest.MonkeyPatch], None]] = {
    "caltech101": caltech101,
    "caltech256": caltech256,
    "country211": country211,
    "dtd": dtd,
    "eurosat": eurosat,
    "fgvc-aircraft": aircraft,
    "flowers102": flowers102,
    "food101": food101,
    "gtsrb": gtsrb,
    "oxford-pets": pets,
    "pcam": pcam,
    "stanford-cars": cars,
    "stl10": stl10,
    "sun397": sun397,
    "svhn": svhn,
}
