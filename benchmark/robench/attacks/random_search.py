"""What searches that draw at random and only ask for logits have in common: noise, Square and Sparse-RS."""

from __future__ import annotations

import torch
from torch import Tensor

from robench.attacks.losses import margin
from robench.contracts.classifier import Classifier

#: Queries that the published schedules are made for.
SCHEDULED = 10_000


def ask(model: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return which images (N, C, H, W) are lost (N,) bool, and their margins max_{i != y} z_i - z_y (N,)."""
    with torch.no_grad():
        logits = model(images)
    return logits.argmax(1) != labels, margin(logits, labels)


def place_in_schedule(query: int, queries: int, rescale: bool) -> int:
    """Return which query of the published schedule this one stands for; ``rescale`` stretches it to ``queries``."""
    return int(query / queries * SCHEDULED) if rescale else query


def random_place(generator: torch.Generator, rows: int, columns: int) -> tuple[int, int]:
    """Return one of ``rows * columns`` places, each as likely as any other, by its row and column."""
    drawn = int(torch.randint(rows * columns, (), generator=generator))
    return drawn // columns, drawn % columns
