"""Ask a model for so many images at once where an attack was handed more of them.

An attack's images fall one after another, and a batch that shrinks leaves a GPU idle. So the harness hands several
batches' worth to an attack that asks for it (:attr:`robench.Attack.asks_in_parts`): its steps are taken on all that
stand, and the model is asked for a batch at a time. Losses are per image, so gradients are what they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

_most: ContextVar[int | None] = ContextVar("most images at once", default=None)


@contextmanager
def asked_at_once(most: int) -> Iterator[None]:
    """Let :func:`in_parts` ask for at most so many images at once inside."""
    before = _most.set(most)
    try:
        yield
    finally:
        _most.reset(before)


def in_parts(ask: Callable[..., tuple[Tensor, ...]], images: Tensor, *along: Tensor) -> tuple[Tensor, ...]:
    """Return what ``ask`` gives for ``images`` and what goes ``along`` with them, a row an image, part by part."""
    most = _most.get()
    if most is None or len(images) <= most:
        return ask(images, *along)
    starts = range(0, len(images), most)
    found = [ask(*(tensor[start : start + most] for tensor in (images, *along))) for start in starts]
    return tuple(torch.cat(column) for column in zip(*found, strict=True))


def whole(parts: Sequence[Tensor]) -> Tensor:
    """Return what was asked for part after part as one tensor, without its graph."""
    return parts[0].detach() if len(parts) == 1 else torch.cat([part.detach() for part in parts])


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits (N, classes) of one forward of each image, without a graph."""

    def ask(part: Tensor) -> tuple[Tensor]:
        return (model(part),)

    with torch.no_grad():
        return in_parts(ask, images)[0]
