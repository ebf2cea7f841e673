"""Find pictures that are shown twice: turned, mirrored, moved, cropped, inverted, re-encoded, made darker or noisy.

One side of a comparison is varied, so that what is kept of a training set, 64 grey levels an image, is enough. Pairs
are looked for among neighbours in a few principal directions of the thumbnails (a k-d tree), not among all pairs.
Two pictures are one by either of two rules: nothing but rounding is between them, or little is, and far less than
between the first and any other picture, which is what noise leaves of a copy and likeness does not make.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench.evidence.image_signatures import BLANK, SAME, SIDE, thumbnails

#: Shares of the image that a crop keeps from the middle, and from a corner, before it is enlarged again.
CROPS, CORNERS = (0.94, 0.875, 0.8), (0.9, 0.8)
#: Degrees by which an image is tilted. What lies between two is close enough to one of them.
TILTS = (-10, -5, 5, 10)
#: Share of its size to which an image shrinks, and exponents that its grey levels are given.
SHRUNK, GAMMAS = 0.9, (0.5, 2.0)
#: Side in pixels at which images are varied; larger ones are averaged to less than twice this first.
VARIED = 32
#: Side of what is compared: the thumbnail without its edge.
INNER = SIDE - 2
#: Principal directions in which neighbours are looked for; distances in them are never longer than in all.
DIRECTIONS = 10
#: Two thumbnails may show one picture if they differ by less than this (as SAME), by less than ALIKE once brightness
#: and contrast are taken out (a correlation of 0.875), and by less than CLEARLY times what the next picture does.
NOISY, ALIKE, CLEARLY = 12.0, 0.5, 0.6
#: The same within a set, which may be small, so that the next picture is far off by chance: if each says it of the
#: other, and if only one of them does, since of a crop the other is none.
MUTUALLY, BY_ONE = 0.5, 0.4
#: Neighbours that are looked at: of one picture, one less may be copies.
NEIGHBOURS = 26
#: Thumbnails that are taken as numbers at a time.
PART = 8192


def varied_thumbnails(images: Tensor) -> Tensor:
    """Return thumbnails of each image in several forms, and of their mirror images (V, N, 64).

    The forms are the image as it is, which is the first, moved, cropped, turned by quarters, tilted, shrunk, inverted,
    and with other gammas.
    """
    grey = images.detach().mean(1, keepdim=True)
    coarse = max(1, min(grey.shape[2:]) // VARIED)
    if coarse > 1:
        grey = F.avg_pool2d(grey, coarse, ceil_mode=True)
    sixteenth = max(2, round(max(grey.shape[2:]) / 16))
    seen, steps = [grey], (1, sixteenth)
    ways = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]
    seen += [_moved(grey, step * down, step * right) for step in steps for down, right in ways]
    seen += [_cropped(grey, share, 0.5, 0.5) for share in CROPS]
    seen += [_cropped(grey, share, top, left) for share in CORNERS for top in (0, 1) for left in (0, 1)]
    seen += [_turned(grey, quarters) for quarters in (1, 2, 3)]
    seen += [_tilted(grey, degrees) for degrees in TILTS]
    seen += [_tilted(grey, 0, SHRUNK), 1 - grey]
    seen += [grey**gamma for gamma in GAMMAS]
    return torch.stack([thumbnails(part) for view in seen for part in (view, view.flip(3))])


def _moved(images: Tensor, down: int, right: int) -> Tensor:
    edge = max(abs(down), abs(right))
    padded = F.pad(images, (edge, edge, edge, edge), mode="replicate")
    height, width = images.shape[2:]
    return padded[:, :, edge - down : edge - down + height, edge - right : edge - right + width]


def _cropped(images: Tensor, share: float, top: float, left: float) -> Tensor:
    """Keep a share of both sides; ``top`` and ``left`` say of what is cut off how much lies there."""
    height, width = images.shape[2:]
    rows, columns = max(1, round(share * height)), max(1, round(share * width))
    first, second = int(top * (height - rows)), int(left * (width - columns))
    part = images[:, :, first : first + rows, second : second + columns]
    return F.interpolate(part, (height, width), mode="bilinear", antialias=False)


def _turned(images: Tensor, quarters: int) -> Tensor:
    turned = images.rot90(quarters, (2, 3))
    return turned if turned.shape == images.shape else F.interpolate(turned, images.shape[2:], mode="bilinear")


def _tilted(images: Tensor, degrees: float, size: float = 1.0) -> Tensor:
    """Turn by some degrees about the middle, at another size."""
    height, width = images.shape[2:]
    cosine, sine = (math.cos(math.radians(degrees)) / size, math.sin(math.radians(degrees)) / size)
    # Coordinates run from -1 to 1 along both sides, however long they are.
    there = torch.tensor([[cosine, -sine * height / width, 0], [sine * width / height, cosine, 0]])
    grid = F.affine_grid(there.to(images).expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def shown_again(varied: Tensor, others: Tensor, surely: bool = False) -> Tensor:
    """Return bool (N,): which images, in one of their variants (V, N, 64), are among the thumbnails ``others``.

    With ``surely`` only those between which and the other there is nothing but rounding.
    """
    found = torch.zeros(varied.shape[1], dtype=torch.bool)
    for image, _ in _pairs(varied, others, surely):
        found[image] = True
    return found


def groups(varied: Tensor, surely: bool = False) -> int:
    """Return how many different pictures a set shows: images linked by near copies are one picture."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = varied.shape[1]
    links = _pairs(varied, varied[0], surely, itself=True)
    rows, columns = zip(*links, strict=True) if links else ((), ())
    graph = coo_matrix((np.ones(len(links)), (rows, columns)), shape=(n, n))
    return int(connected_components(graph, directed=False, return_labels=False))


def _pairs(varied: Tensor, others: Tensor, surely: bool, itself: bool = False) -> list[tuple[int, int]]:
    """Return (image, other) where a variant of an image shows what the other shows.

    With ``itself`` the others are the images, and none is a copy of itself.
    """
    from scipy.spatial import cKDTree

    shows = np.flatnonzero(np.concatenate([_normalised(part)[1] for part in others.split(PART)]) >= BLANK * INNER)
    if not len(shows):
        return []
    # Of each of the others its bytes and its place in the tree are kept; its 36 numbers of eight bytes are made anew.
    known = others[shows]
    first, _ = _normalised(known[:5000])
    _, _, axes = np.linalg.svd(first - first.mean(0), full_matrices=False)
    axes = axes[:DIRECTIONS].T
    tree = cKDTree(np.concatenate([_normalised(part)[0] @ axes for part in known.split(PART)]))
    found: set[tuple[int, int]] = set()
    views = [_normalised(thumbs) for thumbs in varied]
    likely = np.zeros(varied.shape[1], dtype=bool)
    for asked, own in views:
        rows = np.flatnonzero(own >= BLANK * INNER)
        along = asked[rows] @ axes
        # Brightness and contrast taken out, two pictures are one if they differ by less than SAME at their contrast.
        balls: Any = tree.query_ball_point(along, SAME * INNER / own[rows])
        image, place = np.repeat(rows, [len(ball) for ball in balls]), _joined(balls)
        _, levels = _apart(known, place, asked, own, image)
        same = levels < SAME
        found |= set(zip(image[same].tolist(), shows[place[same]].tolist(), strict=True))
        if surely:
            continue
        nearest, place = tree.query(along, k=[1, 2], distance_upper_bound=ALIKE)
        own_picture = itself & (np.append(shows, -1)[place[:, 0]] == rows)
        nearest = np.where(own_picture, nearest[:, 1], nearest[:, 0])
        likely[rows] |= nearest < np.minimum(ALIKE, NOISY * INNER / own[rows])
    parts = [np.empty((0, 4))]
    for asked, own in views if likely.any() else ():
        rows = np.flatnonzero(likely & (own >= BLANK * INNER))
        count = min(NEIGHBOURS, len(known))
        _, place = tree.query(asked[rows] @ axes, k=list(range(1, count + 1)), distance_upper_bound=ALIKE / CLEARLY)
        image, place = np.repeat(rows, count), place.ravel()
        image, place = image[place < len(known)], place[place < len(known)]
        apart, levels = _apart(known, place, asked, own, image)
        parts.append(np.stack([image, shows[place], apart, levels], 1))
    near = np.concatenate(parts)
    if itself:
        mutually = _clearly(near, MUTUALLY, itself)
        found |= {pair for pair in mutually if pair[::-1] in mutually} | _clearly(near, BY_ONE, itself)
    else:
        found |= _clearly(near, CLEARLY)
    return [pair for pair in sorted(found) if not (itself and pair[0] == pair[1])]


def _joined(balls: Any) -> Any:
    return np.concatenate([np.asarray(ball, dtype=np.int64) for ball in balls]) if len(balls) else np.empty(0, np.int64)


def _apart(known: Tensor, place: Any, asked: Any, own: Any, image: Any) -> tuple[Any, Any]:
    """Return how far apart pairs are, brightness and contrast taken out, and that in grey levels at their contrast."""
    apart, levels = np.empty(len(place)), np.empty(len(place))
    for start in range(0, len(place), PART):
        part = slice(start, start + PART)
        other, contrast = _normalised(known[place[part]])
        apart[part] = np.linalg.norm(other - asked[image[part]], axis=1)
        levels[part] = apart[part] * np.maximum(contrast, own[image[part]]) / INNER
    return apart, levels


def _clearly(near: Any, clearly: float, itself: bool = False) -> set[tuple[int, int]]:
    """Return (image, other) where the nearest others are clearly nearer to an image than all that follow."""
    if itself:
        near = near[near[:, 0] != near[:, 1]]
    near = near[np.lexsort((near[:, 2], near[:, 1], near[:, 0]))]
    first = np.ones(len(near), dtype=bool)
    first[1:] = (near[1:, :2] != near[:-1, :2]).any(1)
    near = near[first]  # of each pair the variant that is nearest
    near = near[np.lexsort((near[:, 2], near[:, 0]))]
    found: set[tuple[int, int]] = set()
    starts = np.flatnonzero(np.diff(near[:, 0], prepend=-1))
    for part in np.split(near, starts[1:]) if len(near) else []:
        part = part[:NEIGHBOURS]
        # What lies beyond those that were looked at is at least as far as ALIKE / CLEARLY, which is clearly enough.
        after = np.append(part[1:, 2], ALIKE / CLEARLY if len(part) < NEIGHBOURS else 0.0)
        fits = (part[:, 2] < clearly * after) & (part[:, 2] < ALIKE) & (part[:, 3] < NOISY)
        if fits.any():
            last = int(np.flatnonzero(fits)[-1])
            found |= {(int(image), int(other)) for image, other in part[: last + 1, :2]}
    return found


def _normalised(thumbs: Tensor) -> tuple[Any, Any]:
    """Return the inner 6 x 6 levels of thumbnails (N, 36), of no mean and length 1, and the lengths they had (N,).

    What a shift moves in at the edge of an image is anybody's choice.
    """
    levels = thumbs.view(-1, SIDE, SIDE)[:, 1:-1, 1:-1].flatten(1).numpy().astype(np.float64)
    levels -= levels.mean(1, keepdims=True)
    contrast = np.linalg.norm(levels, axis=1)
    return levels / np.maximum(contrast, 1e-12)[:, None], contrast
