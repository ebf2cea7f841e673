"""On a GPU, take the kernels that repeat their bits, and name the operations that have none."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

#: What cuBLAS needs, before CUDA starts, to repeat its sums.
WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
#: torch's words for an operation without such a kernel; the word before them is its name.
_WORDS = "does not have a deterministic implementation"

T = TypeVar("T")

#: By model and by what works on it, the operations found to have no such kernel.
_found: WeakKeyDictionary[nn.Module, dict[str, set[str]]] = WeakKeyDictionary()


def reserve_workspace() -> None:
    """Let cuBLAS repeat its sums; it must happen before CUDA starts."""
    os.environ.setdefault(*WORKSPACE)


def repeatably(work: Callable[[], T], model: nn.Module, who: str, device: str) -> tuple[T, list[str]]:
    """Return ``work()``, done with kernels that repeat their bits, and the operations that had none.

    Where there is such an operation the work is done once more, with the kernel there is; from then on ``who`` is not
    tried otherwise on this model. On a CPU nothing is changed.
    """
    if not device.startswith("cuda"):
        return work(), []
    names = _found.setdefault(model, {}).setdefault(who, set())
    if not names:
        try:
            with _deterministic(warn_only=False):
                return work(), []
        except Exception as error:
            name = _operation(error)
            if name is None:
                raise
            names.add(name)
    with _deterministic(warn_only=True), _noticing(names):
        done = work()
    return done, sorted(names)


def _operation(error: BaseException | str | None) -> str | None:
    """Return the name of the operation that torch says does not repeat, or None if it says something else."""
    while error is not None:
        before, found, _ = str(error).partition(f" {_WORDS}")
        if found:
            return before.split()[-1]
        error = error.__cause__ if isinstance(error, BaseException) else None
    return None


@contextmanager
def _noticing(names: set[str]) -> Iterator[None]:
    """Add the operations that torch warns of inside; other warnings are passed on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        name = _operation(str(warning.message))
        if name is None:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        else:
            names.add(name)


@contextmanager
def _deterministic(*, warn_only: bool) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    settings: Any = torch.utils.deterministic
    filled = settings.fill_uninitialized_memory
    settings.fill_uninitialized_memory = False  # a kernel for each allocation, and no other result
    torch._C._set_deterministic_algorithms(True, warn_only=warn_only)
    try:
        yield
    finally:
        torch._C._set_deterministic_algorithms(before[0], warn_only=before[1])
        settings.fill_uninitialized_memory = filled
