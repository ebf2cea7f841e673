"""Square attack: random square patches, kept where they help; queries only, no gradient."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robench.attacks.best_so_far import Best
from robench.attacks.random_search import ask, halved_share
from robench.attacks.square_patches import Patches, patches_for
from robench.contracts.classifier import Classifier
from robench.contracts.task import Task


def square(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    task: Task,
    *,
    queries: int = 5000,
    restarts: int = 1,
    share: float = 0.8,
    rescale: bool = False,
) -> Tensor:
    """Return the image of largest margin max_{i != y} z_i - z_y that random search finds in the ball (N, C, H, W).

    It starts from vertical stripes of +-eps (Linf) or a grid of bumps (L2, L1). Each query changes one square window of
    ``share * H * W`` pixels, and is kept if the margin grows; the share is halved as the search goes on. Andriushchenko
    et al. 2020 (arXiv 1912.00049). Unlike in the official code every image has its own windows, drawn once in
    advance, so that neither its batch nor what became of its neighbours changes the result; and the last row and
    column can be hit by small windows too.

    Cost of an image that is never lost: ``queries`` forwards a restart, no backward.

    Args:
        model: logits out; only the margin is looked at.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) true classes.
        task: threat model, per-image randomness, and ``stop_early``: an image is done at its first error. Without it
            every query is made; which images fall is the same.
        queries: forwards of one image from each start, the start's own included.
        restarts: independent searches.
        share: of the pixels that the first window changes, in (0, 1].
        rescale: stretch the schedule of shares to ``queries``; AutoAttack does not.
    """
    if task.threat.eps == 0:
        return images.clone()
    patches, best = patches_for(images.shape, task.threat), Best(images)
    for restart in range(restarts):
        rows = best.left(task.stop_early)
        if not len(rows):
            break
        start = patches.start(images, task, restart)
        # Drawn for the whole batch, so that an image's windows do not depend on who has left.
        draws = task.uniform(images.new_empty(len(images), queries - 1, patches.width), "square", restart)
        sides = [patches.side(halved_share(query, queries, share, rescale)) for query in range(queries - 1)]
        search = _Search(rows, images[rows], labels[rows], start[rows], draws[rows], best.values[rows])
        _search(model, search, best, task, patches, sides)
    return best.images


class _Search(NamedTuple):
    """Hold the images still searched, their best points, and the random numbers of all their queries."""

    rows: Tensor
    images: Tensor
    labels: Tensor
    here: Tensor
    draws: Tensor  # (N, queries - 1, numbers of a query)
    value: Tensor

    def keep(self, mask: Tensor) -> _Search:
        """Return the rows that ``mask`` keeps."""
        places = mask.nonzero().flatten()  # a GPU is waited for once, and not for each tensor
        return _Search(*(tensor[places] for tensor in self))


def _search(model: Classifier, search: _Search, best: Best, task: Task, patches: Patches, sides: list[int]) -> None:
    """Make the queries of one start, offering what they find to ``best``."""
    fooled, value = ask(model, search.here, search.labels)
    best.offer(search.rows, search.here, fooled, value)
    search = search._replace(value=value)
    for query, side in enumerate(sides):
        if task.stop_early and bool(fooled.any()):
            search = search.keep(~fooled)
            if not len(search.rows):
                return
        candidate = patches.change(search.images, search.here, search.draws[:, query], side)
        fooled, value = ask(model, candidate, search.labels)
        best.offer(search.rows, candidate, fooled, value)
        better = value > search.value
        search = search._replace(
            here=torch.where(better.view(-1, 1, 1, 1), candidate, search.here),
            value=torch.where(better, value, search.value),
        )
