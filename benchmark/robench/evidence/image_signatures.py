"""What is kept of an image set to tell whether another one shares pictures with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

#: Side of a thumbnail in pixels.
SIDE = 8
#: Two thumbnails show one picture if they differ by less than this, root mean square of grey levels 0..255, once
#: their brightness is taken out. Different digits differ by 11 and more.
SAME = 2.0
#: A thumbnail of less contrast shows nothing that could be recognised.
BLANK = 8.0


class ImageSignatures(NamedTuple):
    """Hold two signatures per image.

    Attributes:
        hashes: int64 (N,), equal for images that are equal bit by bit.
        thumbnails: uint8 (N, 64), the grey image in 8 x 8 pixels.
    """

    hashes: Tensor
    thumbnails: Tensor


class KnownSignatures:
    """Take the signatures of a set of ``n`` images once, however many models answer them in a process."""

    def __init__(self, n: int) -> None:
        self._all = ImageSignatures(torch.empty(n, dtype=torch.int64), torch.empty(n, SIDE * SIDE, dtype=torch.uint8))
        self._known = torch.zeros(n, dtype=torch.bool)

    def of(self, images: Tensor, places: Sequence[int]) -> ImageSignatures:
        """Return the signatures of the images (N, C, H, W) at these places of the set."""
        rows = torch.tensor(places)
        new = (~self._known[rows]).nonzero().flatten()
        if len(new):
            fresh, here = images if len(new) == len(rows) else images[new.to(images.device)], rows[new]
            self._all.hashes[here], self._all.thumbnails[here] = image_hashes(fresh), thumbnails(fresh)
            self._known[here] = True
        return ImageSignatures(self._all.hashes[rows], self._all.thumbnails[rows])

    def missing(self) -> list[int]:
        """Return the places whose signatures were not taken."""
        return (~self._known).nonzero().flatten().tolist()

    def all(self) -> ImageSignatures:
        """Return the signatures of the whole set, none of which may be missing."""
        return self._all


def signatures(batches: Iterable[Tensor]) -> ImageSignatures:
    """Return the signatures of batches of float32 images (N, C, H, W) in [0, 1]."""
    return joined([ImageSignatures(image_hashes(images), thumbnails(images)) for images in batches])


def joined(parts: Sequence[ImageSignatures]) -> ImageSignatures:
    """Return the signatures of several sets as those of one."""
    nothing = ImageSignatures(torch.empty(0, dtype=torch.int64), torch.empty(0, SIDE * SIDE, dtype=torch.uint8))
    hashes, small = zip(nothing, *parts, strict=True)
    return ImageSignatures(torch.cat(hashes), torch.cat(small))


def image_hashes(images: Tensor) -> Tensor:
    """Return a 63-bit hash of each image's content (N,), int64: equal images have equal hashes."""
    rows = images.detach().cpu().contiguous().flatten(1).numpy()
    hashes = [int.from_bytes(hashlib.blake2b(row.data, digest_size=8).digest(), "little") >> 1 for row in rows]
    return torch.tensor(hashes, dtype=torch.int64)


def thumbnails(images: Tensor) -> Tensor:
    """Return each image (N, C, H, W) in [0, 1] as 8 x 8 grey levels, uint8 (N, 64)."""
    grey = F.adaptive_avg_pool2d(images.detach().mean(1, keepdim=True), SIDE).flatten(1)
    return (255 * grey).round().to(torch.uint8).cpu()
