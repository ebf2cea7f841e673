"""Pictures that are shown twice in another form are one picture; different ones stay different."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from robench.evidence.image_signatures import thumbnails
from robench.evidence.near_duplicates import groups, shown_again, varied_thumbnails
from robench_builtins.datasets.digits import Digits
from robench_traps.copies import noisy, tilted

from .test_image_signatures import pictures


def digits(split, count):
    return next(Digits().load(split).batches(count)).images


def copies(images):
    """Return, by what was done to them, the same pictures in another form."""
    mean = images.mean((1, 2, 3), keepdim=True)
    noise = torch.randint(-2, 3, images.shape, generator=torch.Generator().manual_seed(0)) / 255
    return {
        "bytes": images,
        "mirror": images.flip(3),
        "shift by a pixel": images.roll(1, 3),
        "shift by a pixel both ways": images.roll((-1, 1), (2, 3)),
        "nine tenths of the contrast": mean + 0.9 * (images - mean),
        "brighter": (images + 8 / 255).clamp(0, 1),
        "crop of 28 pixels, enlarged": F.interpolate(images[:, :, 2:-2, 2:-2], (32, 32), mode="bilinear"),
        "mirrored crop of 26": F.interpolate(images[:, :, 3:-3, 3:-3], (32, 32), mode="bilinear").flip(3),
        "two grey levels of noise": (images + noise).clamp(0, 1),
    }


@pytest.mark.parametrize("what", list(copies(torch.zeros(1, 3, 32, 32))))
def test_every_copy_of_a_digit_is_found_and_no_other_digit(what):
    images = digits("test", 60)
    train = torch.cat([digits("train", 200), copies(images[:20])[what]])
    found = shown_again(varied_thumbnails(images), thumbnails(train), surely=True)

    assert found.tolist() == [True] * 20 + [False] * 40


def jpeg(images, quality):
    """Return the images, each through a JPEG file."""
    read = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray((image.permute(1, 2, 0) * 255).round().byte().numpy()).save(file, "JPEG", quality=quality)
        read.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255)
    return torch.stack(read)


def edited(images):
    """Return, by what was done to them, the same pictures after more than rounding."""
    angles = torch.linspace(-10, 10, len(images))
    tinted = torch.tensor([0.7, 1.0, 1.2])[:, None, None] * images
    return {
        "tilted": tilted(images, angles),
        "noise of 24 levels": noisy(images, 24).clamp(0, 1),
        "noise of 32 levels": noisy(images, 32).clamp(0, 1),
        "mirror, tilt and noise": noisy(tilted(images.flip(3), angles), 24).clamp(0, 1),
        "JPEG of quality 20": jpeg(images, 20),
        "blur": F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1),
        "half the resolution": F.interpolate(F.avg_pool2d(images, 2), (32, 32), mode="bilinear"),
        "gamma of 1.5": images**1.5,
        "gamma of 0.7": images**0.7,
        "colours": tinted.clamp(0, 1),
        "shift by two pixels": images.roll((2, -2), (2, 3)),
        "crop of a corner": F.interpolate(images[:, :, :26, :26], (32, 32), mode="bilinear"),
        "frame": F.pad(images[:, :, 3:-3, 3:-3], (3, 3, 3, 3), value=1.0),
    }


@pytest.fixture(scope="module")
def known():
    """Return thumbnails of 40 test digits in several forms, and those of the training digits."""
    return varied_thumbnails(digits("test", 40)), thumbnails(digits("train", 1097))


@pytest.mark.parametrize("what", list(edited(torch.zeros(1, 3, 32, 32))))
def test_copies_after_more_than_rounding_are_found_beside_all_others(known, what):
    varied, train = known
    copied = thumbnails(edited(digits("test", 20))[what])
    found = shown_again(varied, torch.cat([train, copied]))

    assert found[:20].sum() >= 19
    assert found[20:].sum() <= 1


def test_pictures_that_look_alike_are_no_copies():
    # Every picture has others about as near as the nearest one; a copy among them under noise is nearer by far.
    drawn = torch.Generator().manual_seed(3)
    (base,) = pictures(1)
    alike = (base + 0.1 * F.interpolate(torch.randn(200, 3, 8, 8, generator=drawn), (32, 32))).clamp(0, 1)
    varied = varied_thumbnails(alike[:40])

    assert not shown_again(varied, thumbnails(alike[40:])).any()
    assert groups(varied) == 40
    copied = noisy(alike[:5], 24).clamp(0, 1)
    assert shown_again(varied, thumbnails(torch.cat([alike[40:], copied]))).tolist() == [True] * 5 + [False] * 35


def test_different_digits_are_different_pictures():
    varied, train = varied_thumbnails(digits("test", 200)), thumbnails(digits("train", 1097))

    assert groups(varied, surely=True) == 200
    assert not shown_again(varied, train, surely=True).any()
    assert groups(varied) >= 198
    assert shown_again(varied, train).sum() <= 2


def test_large_pictures_are_varied_as_small_ones_are():
    large = digits("test", 20).repeat_interleave(7, 2).repeat_interleave(7, 3)

    assert (varied_thumbnails(large)[0].int() - thumbnails(large).int()).abs().max() <= 1
    assert shown_again(varied_thumbnails(large), thumbnails(tilted(large, torch.full((20,), 7.0)))).all()


def test_copies_of_a_few_pictures_are_a_few_pictures():
    few = digits("test", 5)
    noise = torch.randint(-2, 3, (100, 3, 32, 32), generator=torch.Generator().manual_seed(0)) / 255
    near = (few.repeat_interleave(20, 0) + noise).clamp(0, 1)
    # A chain of shifts by a pixel: each is a copy of the next, so all are one picture.
    chain = torch.cat([digits("test", 1).roll(step, 3) for step in range(8)])

    assert groups(varied_thumbnails(near)) == 5
    assert groups(varied_thumbnails(chain)) == 1


def test_a_picture_that_shows_nothing_is_like_no_other():
    flat = torch.full((4, 3, 16, 16), 0.3)

    assert not shown_again(varied_thumbnails(flat), thumbnails(flat)).any()
    assert groups(varied_thumbnails(flat)) == 4


def test_the_distance_at_which_two_pictures_are_one():
    # One of the 36 inner pixels moved by d is d / 6 in the root mean square, less what its mean takes away.
    (image,) = pictures(1)
    for levels, same in ((8, True), (30, False)):
        other = image.clone()
        other[:, 8:12, 8:12] += levels / 255
        assert shown_again(varied_thumbnails(other[None]), thumbnails(image[None]), surely=True).tolist() == [same]


def test_no_training_image_at_all():
    nothing = torch.empty(0, 64, dtype=torch.uint8)

    assert not shown_again(varied_thumbnails(pictures(2)), nothing).any()


def test_what_is_compared_with_is_kept_as_bytes():
    n = 40_000
    others = torch.randint(0, 256, (n, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    tracemalloc.start()
    try:
        found = shown_again(others[None, [7, 30_000]], others, surely=True)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.tolist() == [True, True]
    # Its place in the tree, ten numbers, while they are joined; 36 numbers an image would be 288 bytes more.
    assert most < 260 * n
