"""What searches that draw at random and only ask for logits have in common: noise, Square, Sparse-RS and Patch-RS."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

import torch
from torch import Tensor

from robench.attacks.best_so_far import Best
from robench.attacks.losses import margin
from robench.contracts.asked_in_parts import logits_of
from robench.contracts.classifier import Classifier
from robench.contracts.task import Task

#: Queries that the published schedules are made for.
SCHEDULED = 10_000
#: After which of them a share is halved, in Square and in the patches of Sparse-RS.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def ask(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return which images (N, C, H, W) are lost (N,) bool, and their margins max_{i != y} z_i - z_y (N,)."""
    logits = logits_of(model, images)
    return logits.argmax(1) != labels, margin(logits, labels)


def place_in_schedule(query: int, queries: int, rescale: bool) -> int:
    """Return which query of the published schedule this one stands for; ``rescale`` stretches it to ``queries``."""
    return int(query / queries * SCHEDULED) if rescale else query


def halved_share(query: int, queries: int, first: float, rescale: bool) -> float:
    """Return the share that a query changes, which is halved as the search goes on."""
    return first * 0.5 ** bisect_left(_HALVINGS, place_in_schedule(query, queries, rescale))


def starts(best: Best, task: Task, restarts: int, word: str) -> Iterator[tuple[Tensor, list[torch.Generator]]]:
    """Yield the images left to search from each start, and a generator for each: of its number, not of its batch."""
    numbers = task.indices if len(task.indices) else range(len(best.images))
    for restart in range(restarts):
        rows = best.left(task.stop_early)
        if not len(rows):
            return
        yield rows, [task.generator(word, restart, numbers[row]) for row in rows.tolist()]


def random_place(generator: torch.Generator, rows: int, columns: int) -> tuple[int, int]:
    """Return one of ``rows * columns`` places, each as likely as any other, by its row and column."""
    drawn = int(torch.randint(rows * columns, (), generator=generator))
    return drawn // columns, drawn % columns
