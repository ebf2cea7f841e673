"""Find pictures that are shown twice: mirrored, turned, shifted, cropped, inverted, made darker or paler.

One side of a comparison is varied, so that what is kept of a training set, 64 grey levels an image, is enough. Pairs
are looked for among neighbours in a few principal directions of the thumbnails (a k-d tree), not among all pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench.evidence.image_signatures import BLANK, SAME, SIDE, thumbnails

#: Shares of the image that a crop keeps, before it is enlarged again.
CROPS = (0.94, 0.875, 0.8)
#: Side of what is compared: the thumbnail without its edge.
INNER = SIDE - 2
#: Principal directions in which neighbours are looked for; distances in them are never longer than in all.
DIRECTIONS = 10


def varied_thumbnails(images: Tensor) -> Tensor:
    """Return thumbnails of each image in several forms, and of their mirror images (V, N, 64).

    The forms are the image as it is, which is the first, shifted by a pixel, cropped, turned by quarters and inverted.
    """
    seen = [images]
    seen += [_shifted(images, down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]
    seen += [_cropped(images, share) for share in CROPS]
    seen += [_turned(images, quarters) for quarters in (1, 2, 3)]
    seen += [1 - images]
    return torch.stack([thumbnails(part) for view in seen for part in (view, view.flip(3))])


def _shifted(images: Tensor, down: int, right: int) -> Tensor:
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    height, width = images.shape[2:]
    return padded[:, :, 1 - down : 1 - down + height, 1 - right : 1 - right + width]


def _cropped(images: Tensor, share: float) -> Tensor:
    height, width = images.shape[2:]
    rows, columns = max(1, round(share * height)), max(1, round(share * width))
    top, left = (height - rows) // 2, (width - columns) // 2
    part = images[:, :, top : top + rows, left : left + columns]
    return F.interpolate(part, (height, width), mode="bilinear", antialias=False)


def _turned(images: Tensor, quarters: int) -> Tensor:
    turned = images.rot90(quarters, (2, 3))
    return turned if turned.shape == images.shape else F.interpolate(turned, images.shape[2:], mode="bilinear")


def shown_again(varied: Tensor, others: Tensor) -> Tensor:
    """Return bool (N,): which images, in one of their variants (V, N, 64), are among the thumbnails ``others``."""
    found = torch.zeros(varied.shape[1], dtype=torch.bool)
    for _, image, _ in _pairs(varied, others):
        found[image] = True
    return found


def groups(varied: Tensor) -> int:
    """Return how many different pictures a set shows: images linked by near copies are one picture."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = varied.shape[1]
    links = [(image, other) for _, image, other in _pairs(varied, varied[0]) if image != other]
    rows, columns = zip(*links, strict=True) if links else ((), ())
    graph = coo_matrix((np.ones(len(links)), (rows, columns)), shape=(n, n))
    return int(connected_components(graph, directed=False, return_labels=False))


def _pairs(varied: Tensor, others: Tensor) -> list[tuple[int, int, int]]:
    """Return (variant, image, other) where the variant of an image shows what the other shows."""
    from scipy.spatial import cKDTree

    known, contrast = _normalised(others)
    shows = np.flatnonzero(contrast >= BLANK * INNER)
    if not len(shows):
        return []
    known, contrast = known[shows], contrast[shows]
    _, _, axes = np.linalg.svd(known[:5000] - known[:5000].mean(0), full_matrices=False)
    axes = axes[:DIRECTIONS].T
    tree, found = cKDTree(known @ axes), []
    for variant, thumbs in enumerate(varied):
        asked, own = _normalised(thumbs)
        rows = np.flatnonzero(own >= BLANK * INNER)
        # Brightness and contrast taken out, two pictures are one if they differ by less than SAME at their contrast.
        near: Any = tree.query_ball_point(asked[rows] @ axes, SAME * INNER / own[rows])
        for row, places in zip(rows, near, strict=True):
            if not places:
                continue
            gap = np.linalg.norm(known[places] - asked[row], axis=1) * np.maximum(contrast[places], own[row])
            found += [(variant, int(row), int(shows[places[k]])) for k in np.flatnonzero(gap < SAME * INNER)]
    return found


def _normalised(thumbs: Tensor) -> tuple[Any, Any]:
    """Return the inner 6 x 6 levels of thumbnails (N, 36), of no mean and length 1, and the lengths they had (N,).

    What a shift moves in at the edge of an image is anybody's choice.
    """
    levels = thumbs.view(-1, SIDE, SIDE)[:, 1:-1, 1:-1].flatten(1).numpy().astype(np.float64)
    levels -= levels.mean(1, keepdims=True)
    contrast = np.linalg.norm(levels, axis=1)
    return levels / np.maximum(contrast, 1e-12)[:, None], contrast
