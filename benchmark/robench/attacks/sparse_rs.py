"""Sparse-RS in L0: random pixels in random colours, exchanged where it helps; queries only, no gradient."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import torch
from torch import Tensor

from robench.attacks.best_so_far import Best
from robench.attacks.random_search import ask, place_in_schedule, starts
from robench.contracts.classifier import Classifier
from robench.contracts.task import Task

#: After which queries, of 10,000, the share of exchanged pixels is which part of the first.
_UNTIL = (0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_PARTS = (1, 2, 4, 5, 6, 8, 10, 12, 15, 20)
#: Up to so many pixels a draw shuffles them all.
_FEW = 4096


def sparse_rs(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    task: Task,
    *,
    queries: int = 5000,
    restarts: int = 1,
    share: float = 0.3,
    rescale: bool = True,
) -> Tensor:
    """Return the image of largest margin max_{i != y} z_i - z_y found with k other pixels (N, C, H, W); k is eps.

    It starts from k random pixels, each channel 0 or 1 by chance. Each query puts some of them back and draws as many
    others, in new colours; it is kept if the margin grows. How many are exchanged falls from ``share * k`` to one.
    Croce et al. 2022, Sparse-RS (arXiv 2006.12834), section 4. Unlike in the official code every image draws its own
    pixels, from a generator of its own, so that neither its batch nor its neighbours change the result.

    Cost of an image that is never lost: ``queries`` forwards a restart, no backward.

    Args:
        model: logits out; only the margin is looked at.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) true classes.
        task: threat model L0, per-image randomness, and ``stop_early``: an image is done at its first error.
        queries: forwards of one image from each start, the start's own included.
        restarts: independent searches.
        share: of the k pixels that the first query exchanges, in (0, 1].
        rescale: stretch the schedule of shares, made for 10,000 queries, to ``queries``.
    """
    best = Best(images)
    if task.threat.eps == 0:
        return best.images
    count = images[0, 0].numel()
    pixels = min(int(task.threat.eps), count)
    shares = [_share(query, queries, share, rescale) for query in range(1, queries)]
    exchanged = [min(max(int(part * pixels), 1), count - pixels) for part in shares]
    for rows, draws in starts(best, task, restarts, "sparse"):
        _search(model, images, labels, rows, draws, best, task, pixels, exchanged)
    return best.images


def _search(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    rows: Tensor,
    generators: list[torch.Generator],
    best: Best,
    task: Task,
    pixels: int,
    exchanged: list[int],
) -> None:
    """Make the queries of one start, from ``pixels`` other pixels on, of which each query exchanges so many."""
    channels, count = images.shape[1], images[0, 0].numel()
    order = torch.stack([torch.randperm(count, generator=one) for one in generators]).to(images.device)
    clean = images[rows].flatten(2)
    colours = _colours(generators, channels, pixels).to(images)
    search = _Search(rows, clean, clean, order[:, :pixels], order[:, pixels:], clean.new_full((len(rows),), -torch.inf))
    candidate, changed = _painted(clean, order[:, :pixels], colours), search
    for some in (None, *exchanged):
        if some is not None:
            if not some:
                return  # every pixel is another one already
            candidate, changed = _exchange(search, generators, some)
        seen = candidate.view(-1, *images.shape[1:])
        fooled, found = ask(model, seen, labels[search.rows])
        best.offer(search.rows, seen, fooled, found)
        search = search.moved(candidate, changed, found)
        if task.stop_early and bool(fooled.any()):
            left = (~fooled).nonzero().flatten()
            search, generators = search.keep(left), [generators[place] for place in left.tolist()]
            if not generators:
                return


class _Search(NamedTuple):
    """Hold the images still searched: (N, C, P) clean and as they are, which pixels are others, and the margin."""

    rows: Tensor
    clean: Tensor
    here: Tensor
    inside: Tensor  # (N, k) places of the pixels in other colours
    outside: Tensor  # (N, P - k) places of the others
    value: Tensor

    def keep(self, places: Tensor) -> _Search:
        """Return these images alone."""
        return _Search(*(tensor[places] for tensor in self))

    def moved(self, candidate: Tensor, changed: _Search, found: Tensor) -> _Search:
        """Return each image at its candidate where that has the larger margin, else where it was."""
        better = found > self.value
        return self._replace(
            here=torch.where(better[:, None, None], candidate, self.here),
            inside=torch.where(better[:, None], changed.inside, self.inside),
            outside=torch.where(better[:, None], changed.outside, self.outside),
            value=torch.where(better, found, self.value),
        )


def _exchange(search: _Search, generators: list[torch.Generator], some: int) -> tuple[Tensor, _Search]:
    """Return candidates in which ``some`` pixels are put back and as many others painted, and what they are then."""
    device = search.here.device
    leave = torch.stack([_distinct(some, search.inside.shape[1], one) for one in generators]).to(device)
    enter = torch.stack([_distinct(some, search.outside.shape[1], one) for one in generators]).to(device)
    gone, come = search.inside.gather(1, leave), search.outside.gather(1, enter)
    colours = _colours(generators, search.here.shape[1], some).to(search.here)
    back = _painted(search.here, gone, search.clean.gather(2, _each(gone, search.here)))
    inside, outside = search.inside.scatter(1, leave, come), search.outside.scatter(1, enter, gone)
    return _painted(back, come, colours), search._replace(inside=inside, outside=outside)


def _distinct(count: int, among: int, generator: torch.Generator) -> Tensor:
    """Return ``count`` different numbers below ``among``, in random order."""
    if among <= _FEW:
        return torch.randperm(among, generator=generator)[:count]
    found: dict[int, None] = {}
    while len(found) < count:
        found |= dict.fromkeys(torch.randint(among, (2 * count,), generator=generator).tolist())
    return torch.tensor(list(found)[:count])


def _colours(generators: list[torch.Generator], channels: int, count: int) -> Tensor:
    """Return a colour for each of ``count`` pixels of each image, 0 or 1 in each channel (N, C, count)."""
    return torch.stack([torch.randint(2, (channels, count), generator=one) for one in generators])


def _painted(here: Tensor, pixels: Tensor, colours: Tensor) -> Tensor:
    return here.scatter(2, _each(pixels, here), colours)


def _each(pixels: Tensor, here: Tensor) -> Tensor:
    """Return places of pixels (N, k) for every channel (N, C, k)."""
    return pixels[:, None].expand(-1, here.shape[1], -1)


def _share(query: int, queries: int, first: float, rescale: bool) -> float:
    """Return the share of the pixels that a query exchanges."""
    return first / _PARTS[bisect_left(_UNTIL, place_in_schedule(query, queries, rescale))]
