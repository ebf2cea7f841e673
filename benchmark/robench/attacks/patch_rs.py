"""Patch-RS: one square an image, repainted and moved where it helps; queries only, no gradient."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robench.attacks.best_so_far import Best
from robench.attacks.random_search import ask, halved_share, random_place, starts
from robench.contracts.classifier import Classifier
from robench.contracts.patch_square import fitting
from robench.contracts.task import Task

#: Every so manyth query moves the square instead of repainting it.
_MOVES = 4


def patch_rs(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    task: Task,
    *,
    queries: int = 5000,
    restarts: int = 1,
    share: float = 0.4,
    rescale: bool = True,
) -> Tensor:
    """Return the image of largest margin max_{i != y} z_i - z_y found with one other square of side eps (N, C, H, W).

    It starts from a square at a drawn place, each pixel and channel 0 or 1 by chance. Three of four queries repaint a
    smaller square within it in one colour of the box's corners, of ``share`` of its pixels at first, halved as the
    search goes on, and at last a single pixel's single channel; every fourth moves it, now anywhere, now
    ever less far. What makes the margin smaller is undone. Croce et al. 2022, Sparse-RS (arXiv 2006.12834), its
    image-specific patches. Unlike in the official code every image draws from a generator of its own, so that neither
    its batch nor its neighbours change the result.

    Cost of an image that is never lost: ``queries`` forwards a restart, no backward.

    Args:
        model: logits out; only the margin is looked at.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) true classes.
        task: threat model ``patch``, per-image randomness, and ``stop_early``: an image is done at its first error.
        queries: forwards of one image from each start, the start's own included.
        restarts: independent searches.
        share: of the square's pixels that the first query repaints, in (0, 1].
        rescale: stretch the schedules, made for 10,000 queries, to ``queries``.
    """
    best = Best(images)
    if task.threat.eps == 0:
        return best.images
    plan = [_query(query, queries, share, rescale) for query in range(1, queries)]
    for rows, draws in starts(best, task, restarts, "patch-rs"):
        _search(model, images, labels, rows, draws, best, task, plan)
    return best.images


class _Query(NamedTuple):
    """Say what one query changes."""

    moves: bool
    share: float  # of the pixels that are repainted
    reach: float  # how far the square moves, as a share of the way that there is


class _Patch:
    """Hold one image's square while it is searched: place, pixels and what draws."""

    def __init__(self, generator: torch.Generator, shape: torch.Size, side: int) -> None:
        self.generator = generator
        tall, wide = fitting(side, torch.empty(shape))
        self.room = (shape[1] - tall, shape[2] - wide)
        self.place = random_place(generator, self.room[0] + 1, self.room[1] + 1)
        self.pixels = torch.randint(2, (shape[0], tall, wide), generator=generator).float()

    def changed(self, query: _Query) -> tuple[tuple[int, int], Tensor]:
        """Return place and pixels after one query."""
        if query.moves and any(self.room):
            return self._moved(query.reach), self.pixels
        return self.place, self._repainted(query.share)

    def _moved(self, reach: float) -> tuple[int, int]:
        """Return a place within ``reach``, another one than this where there is another."""
        spans = []
        for at, room in zip(self.place, self.room, strict=True):
            far = max(int(reach * room), 1)
            spans.append((max(at - far, 0), min(at + far, room)))
        sizes = [high - low + 1 for low, high in spans]
        drawn = int(torch.randint(sizes[0] * sizes[1] - 1, (), generator=self.generator))
        own = (self.place[0] - spans[0][0]) * sizes[1] + self.place[1] - spans[1][0]
        drawn += drawn >= own
        return spans[0][0] + drawn // sizes[1], spans[1][0] + drawn % sizes[1]

    def _repainted(self, share: float) -> Tensor:
        """Return the pixels with a smaller square in another colour; of a single pixel one channel turns around."""
        channels, tall, wide = self.pixels.shape
        side = max(round((share * tall * wide) ** 0.5), 1)
        high, long = min(side, tall), min(side, wide)
        top, left = random_place(self.generator, tall - high + 1, wide - long + 1)
        pixels = self.pixels.clone()
        if side == 1:
            channel = int(torch.randint(channels, (), generator=self.generator))
            pixels[channel, top, left] = 1 - pixels[channel, top, left]
            return pixels
        colour = torch.randint(2, (channels, 1, 1), generator=self.generator).float()
        pixels[:, top : top + high, left : left + long] = colour
        return pixels


def _search(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    rows: Tensor,
    generators: list[torch.Generator],
    best: Best,
    task: Task,
    plan: list[_Query],
) -> None:
    """Make the queries of one start."""
    patches = [_Patch(one, images.shape[1:], int(task.threat.eps)) for one in generators]
    values = images.new_full((len(rows),), -torch.inf)
    for query in (None, *plan):
        changes = [(one.place, one.pixels) if query is None else one.changed(query) for one in patches]
        seen = _painted(images[rows], changes)
        fooled, found = ask(model, seen, labels[rows])
        best.offer(rows, seen, fooled, found)
        for one, (place, pixels), better in zip(patches, changes, (found >= values).tolist(), strict=True):
            if better:
                one.place, one.pixels = place, pixels
        values = values.maximum(found)
        if task.stop_early and bool(fooled.any()):
            left = (~fooled).nonzero().flatten()
            rows, values, patches = rows[left], values[left], [patches[at] for at in left.tolist()]
            if not patches:
                return


def _painted(images: Tensor, changes: list[tuple[tuple[int, int], Tensor]]) -> Tensor:
    """Return the images with their squares painted in."""
    seen = images.cpu().clone()
    for image, ((top, left), pixels) in zip(seen, changes, strict=True):
        image[:, top : top + pixels.shape[1], left : left + pixels.shape[2]] = pixels
    return seen.to(images)


def _query(query: int, queries: int, share: float, rescale: bool) -> _Query:
    """Return what a query changes, by the schedule."""
    reach = 1.0 if query % (2 * _MOVES) == 0 else (1 - query / queries) ** 2
    return _Query(query % _MOVES == 0, halved_share(query, queries, share, rescale), reach)
