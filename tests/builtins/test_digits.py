"""The offline default dataset: exact counts, disjoint and seeded splits, honest pixels."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from robench_builtins.datasets.digits import Digits

SPLITS = ("train", "val", "test")


def rows_of(dataset: Digits, split: str) -> list[bytes]:
    return [image.numpy().tobytes() for image in dataset.load(split).images()]


def test_the_splits_have_the_stated_counts() -> None:
    assert [len(Digits().load(split)) for split in SPLITS] == [1097, 200, 500]


def test_the_splits_are_stratified() -> None:
    everything = torch.bincount(torch.from_numpy(load_digits().target)).float() / 1797
    for split in SPLITS:
        labels = Digits().load(split).labels
        share = torch.bincount(labels, minlength=10) / len(labels)
        assert (share - everything).abs().max() < 1 / 200


@pytest.mark.parametrize("seed", [0, 7])
def test_the_splits_are_disjoint_and_together_the_whole(seed: int) -> None:
    dataset = Digits(split_seed=seed)
    served = [row for split in SPLITS for row in rows_of(dataset, split)]
    assert len(served) == 1797
    # Every scan differs from every other, so equal bytes would be one image served twice.
    assert len(set(served)) == len({scan.tobytes() for scan in load_digits().data}) == 1797


def test_a_split_is_the_same_every_time() -> None:
    for split in SPLITS:
        assert Digits().load(split).fingerprint == Digits().load(split).fingerprint


def test_another_split_seed_deals_train_and_val_anew_but_never_touches_the_test_images() -> None:
    first, second = Digits(), Digits(split_seed=1)
    assert first.load("val").fingerprint != second.load("val").fingerprint
    assert first.load("train").fingerprint != second.load("train").fingerprint
    assert first.load("test").fingerprint == second.load("test").fingerprint


def test_the_pixels_are_the_enlarged_scans() -> None:
    images = Digits().load("test").images()
    assert images.shape == (500, 3, 32, 32)
    assert images.dtype == torch.uint8
    assert images.min() == 0
    assert images.max() == 255
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


def test_the_labels_belong_to_the_images() -> None:
    data = load_digits()
    by_corner = {}
    for scan, label in zip(data.images, data.target, strict=True):
        by_corner.setdefault(scan.tobytes(), label)
    examples = Digits().load("val")
    # Bilinear by 4 with half-pixel centres: the mean of the four middle pixels of a block interpolates the scan.
    for image, label in zip(examples.images()[:, 0], examples.labels, strict=True):
        distance = [
            float((torch.nn.functional.avg_pool2d(image[None].float(), 4)[0] / 255 * 16 - scan).abs().mean())
            for scan in map(torch.from_numpy, data.images[data.target == int(label)])
        ]
        assert min(distance) < 1.5
    assert len(by_corner) == 1797


def test_it_is_the_default_and_names_its_victim_and_prompt() -> None:
    assert Digits.default
    assert Digits.victim == "tiny-clip"
    assert Digits.templates[0].replace("{}", Digits().classes()[7]) == "a photo of the digit seven"
    assert len(Digits().classes()) == 10
    assert Digits().origin() == "digits"
