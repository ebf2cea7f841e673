"""Keep the test images out of training: while a defense is fitted, no dataset serves its test split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from robench.errors import ContractError

_guards = 0


@contextmanager
def guarding_test_split() -> Iterator[None]:
    """Refuse the test split inside: test images never choose a parameter, a checkpoint or a hyper-parameter."""
    global _guards  # a count, since threads that a fit starts are guarded against too
    _guards += 1
    try:
        yield
    finally:
        _guards -= 1


def guarded(load: Callable[..., Any]) -> Callable[..., Any]:
    """Return a dataset's ``load`` that refuses the test split inside :func:`guarding_test_split`."""

    @wraps(load)
    def guarded(self: Any, split: str) -> Any:
        if _guards and split == "test":
            raise ContractError(
                f"the test split of {self.name} was asked for while a defense is fitted; test images never choose a "
                "hyper-parameter or a checkpoint: use the validation split, dataset.load('val')."
            )
        return load(self, split)

    return guarded
