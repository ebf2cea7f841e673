"""Copies as report 001 makes them: each alone by its seed, in the ranges of the report, the original first."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as v2

from robench import Examples
from robench_builtins.datasets.shared.leaf_augmentation import (
    GREY,
    HOLE,
    HOLES,
    RECIPES,
    Augmentation,
    altered,
    augmented,
    recoloured,
    turned,
    window,
    with_holes,
)

NOTHING = Augmentation(crop=0, rotate=0, flip=0, jitter=0, dropout=0)


def leaves(counts: list[int], side: int = 32) -> Examples:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    images = torch.randint(0, 256, (len(labels), 3, side, side), generator=torch.Generator().manual_seed(0))
    return Examples.from_tensors(images.to(torch.uint8), torch.tensor(labels))


def test_three_hundred_become_three_thousand_of_which_the_first_are_the_originals() -> None:
    base = leaves([300, 2], side=4)
    many = augmented(base, 3000, 0, "report-vit")
    assert many.labels.bincount().tolist() == [3000, 3000]
    first = many[list(range(300))].images()
    assert sorted(image.numpy().tobytes() for image in first) == sorted(
        image.numpy().tobytes() for image in base[list(range(300))].images()
    )


def test_of_a_class_with_more_as_many_are_drawn() -> None:
    few = augmented(leaves([5, 3]), 2, 0, "report-cnn")
    assert few.labels.tolist() == [0, 0, 1, 1]
    originals = {image.numpy().tobytes() for image in leaves([5, 3]).images()}
    assert all(image.numpy().tobytes() in originals for image in few.images())


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_copy_is_the_same_in_any_batch_and_whatever_was_drawn_before(recipe: str) -> None:
    many = augmented(leaves([3, 2]), 6, 7, recipe)
    whole = many.images()
    torch.manual_seed(99)
    random.seed(99)
    alone = torch.cat([many[[place]].images() for place in reversed(range(len(many)))]).flip(0)
    assert torch.equal(whole, alone)
    batched = torch.cat([batch.images for batch in many.batches(5)])
    assert torch.equal((batched * 255).round().to(torch.uint8), whole)
    assert not torch.equal(whole, augmented(leaves([3, 2]), 6, 8, recipe).images())


def test_what_is_served_is_in_the_fingerprint() -> None:
    base = leaves([2, 2])
    found = {
        augmented(base, *way).fingerprint for way in ((4, 0, "report-cnn"), (4, 1, "report-cnn"), (4, 0, "report-vit"))
    }
    assert len(found) == 3
    assert augmented(base, 4, 0, "report-cnn").fingerprint in found


def test_the_probabilities_are_those_of_the_report() -> None:
    assert RECIPES["report-vit"] == Augmentation(crop=0.7, rotate=0.4, flip=0.4, jitter=0.5, dropout=0.5)
    assert RECIPES["report-cnn"] == Augmentation(crop=1.0, rotate=0.4, flip=0.4, jitter=0.7, dropout=0.0)
    image = leaves([1]).images()[0]
    assert torch.equal(altered(image, NOTHING, random.Random(0)), image)
    flip = Augmentation(crop=0, rotate=0, flip=0.4, jitter=0, dropout=0)
    flipped = Counter(torch.equal(altered(image, flip, random.Random(seed)), image.flip(2)) for seed in range(500))
    assert abs(flipped[True] / 500 - 0.4) < 4 * (0.4 * 0.6 / 500) ** 0.5


def test_a_crop_has_four_fifths_of_the_area_at_least() -> None:
    chance = random.Random(0)
    for _ in range(200):
        top, left, height, width = window(256, 256, chance)
        assert 0 <= top <= 256 - height
        assert 0 <= left <= 256 - width
        assert 0.79 <= height * width / 256**2 <= 1
        assert 0.74 <= width / height <= 1.35


def test_a_quarter_turn_is_exact_and_what_comes_in_is_mirrored() -> None:
    image = leaves([1]).images()[0]
    quarter = v2.pil_to_tensor(turned(v2.to_pil_image(image), 90.0))
    assert torch.equal(quarter, image.rot90(1, (1, 2)))
    flat = torch.full((3, 32, 32), 77, dtype=torch.uint8)
    assert torch.equal(v2.pil_to_tensor(turned(v2.to_pil_image(flat), 17.0)), flat)  # no black corners


def test_colours_change_by_a_tenth_at_most() -> None:
    grey = v2.to_pil_image(torch.full((3, 8, 8), 100, dtype=torch.uint8))
    for seed in range(30):
        found = v2.pil_to_tensor(recoloured(grey, random.Random(seed)))
        assert int(found.min()) >= 89
        assert int(found.max()) <= 111
        assert len(found.unique()) == 1  # a grey image has neither hue nor saturation, nor contrast


def test_holes_are_grey_and_of_the_report_s_size() -> None:
    def holes(pixels: Tensor) -> Tensor:
        return (pixels == GREY).all(0)

    black = torch.zeros(3, 256, 256, dtype=torch.uint8)
    for seed in range(20):
        found = holes(with_holes(black, random.Random(seed)))
        assert 0 < int(found.sum()) <= HOLES * 25 * 25
    assert round(HOLE * 256) == 25
    assert not black.any()  # the original is not written into
    assert int(holes(with_holes(torch.zeros(3, 8, 8, dtype=torch.uint8), random.Random(0))).sum()) <= HOLES


def test_the_train_split_alone_is_augmented(tmp_path) -> None:
    from robench_builtins.datasets.plantvillage import PlantVillage

    for name, count in (("Tomato_healthy", 10), ("Tomato_Late_blight", 6)):
        (tmp_path / name).mkdir()
        for place, image in enumerate(leaves([count]).images()):
            v2.to_pil_image(image).save(tmp_path / name / f"{place}.png")
    plain, rich = (
        PlantVillage(path=str(tmp_path), size=32, balance=balance, augment="report-vit") for balance in (0, 25)
    )
    assert rich.load("train").labels.bincount().tolist() == [25, 25]
    assert [rich.load(split).fingerprint for split in ("val", "test")] == [
        plain.load(split).fingerprint for split in ("val", "test")
    ]
