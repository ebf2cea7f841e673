"""Pictures that are shown twice in another form are one picture; different ones stay different."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from robench.evidence.image_signatures import thumbnails
from robench.evidence.near_duplicates import groups, shown_again, varied_thumbnails
from robench_builtins.datasets.digits import Digits

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
    found = shown_again(varied_thumbnails(images), thumbnails(train))

    assert found.tolist() == [True] * 20 + [False] * 40


def test_different_digits_are_different_pictures():
    images = digits("test", 500)

    assert groups(varied_thumbnails(images)) == 500
    assert not shown_again(varied_thumbnails(images), thumbnails(digits("train", 1097))).any()


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
        assert shown_again(varied_thumbnails(other[None]), thumbnails(image[None])).tolist() == [same]


def test_no_training_image_at_all():
    nothing = torch.empty(0, 64, dtype=torch.uint8)

    assert not shown_again(varied_thumbnails(pictures(2)), nothing).any()
