"""Keep the test images out of training: the seal on a dataset's test split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from robench.errors import ContractError

_sealed = 0


@contextmanager
def sealing_test_split() -> Iterator[None]:
    """Refuse the test split inside: test images never choose a parameter, a checkpoint or a hyper-parameter."""
    global _sealed  # a count, since threads that a fit starts must find the seal too
    _sealed += 1
    try:
        yield
    finally:
        _sealed -= 1


def sealable(load: Callable[..., Any]) -> Callable[..., Any]:
    """Return a dataset's ``load`` that refuses the test split while it is sealed."""

    @wraps(load)
    def guarded(self: Any, split: str) -> Any:
        if _sealed and split == "test":
            raise ContractError(
                f"the test split of {self.name} was asked for while a defense is fitted; test images never choose a "
                "hyper-parameter or a checkpoint: use the validation split, dataset.load('val')."
            )
        return load(self, split)

    return guarded
