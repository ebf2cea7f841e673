"""Equal and near-equal pictures, told by hand-made ones."""

from __future__ import annotations

import torch

from robench.evidence.image_signatures import image_hashes, signatures, thumbnails


def pictures(n, seed=0, side=32):
    """Return random blocks of 8 x 8 grey levels, enlarged, whole numbers of 1 / 255."""
    levels = torch.randint(20, 230, (n, 1, 8, 8), generator=torch.Generator().manual_seed(seed)).float() / 255
    return levels.repeat_interleave(side // 8, 2).repeat_interleave(side // 8, 3).expand(-1, 3, -1, -1).contiguous()


def test_equal_images_have_equal_hashes_and_others_do_not():
    images = pictures(50)
    other = images.clone()
    other[7, 0, 0, 0] += 1 / 255

    assert len(image_hashes(images).unique()) == 50
    assert (image_hashes(images) != image_hashes(other)).nonzero().flatten().tolist() == [7]
    assert image_hashes(images).min() >= 0


def test_a_thumbnail_of_blocks_is_the_blocks():
    images = pictures(3)
    blocks = (255 * images[:, 0, ::4, ::4]).round().to(torch.uint8)

    assert torch.equal(thumbnails(images), blocks.flatten(1))


def test_any_size_and_any_channels_give_64_levels():
    for shape in ((1, 28, 28), (3, 224, 224), (1, 5, 5)):
        assert thumbnails(torch.full((2, *shape), 0.5)).tolist() == [[128] * 64] * 2


def test_no_image_at_all():
    nothing = signatures([])

    assert (nothing.hashes.shape, nothing.thumbnails.shape) == ((0,), (0, 64))


def test_batches_are_put_together():
    images = pictures(10)
    whole, parts = signatures([images]), signatures(images.split(3))

    assert torch.equal(whole.hashes, parts.hashes)
    assert torch.equal(whole.thumbnails, parts.thumbnails)
