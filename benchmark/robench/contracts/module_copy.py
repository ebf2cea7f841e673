"""Copy modules, those too that copy.deepcopy refuses because they keep what they computed.

Only what is written to is copied: see :mod:`robench.contracts.shared_weights`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from robench.contracts.shared_weights import shared
from robench.errors import ContractError

Module = TypeVar("Module", bound=nn.Module)


def copy_module(module: Module, name: str = "module", *, whole: bool = False) -> Module:
    """Return a deep copy; tensors that were computed and kept (weight_norm's weight, activations) become plain ones.

    torch copies leaves only. Such a tensor is computed again in the next forward, or is only looked at.
    A parameter takes memory of its own once it is written to, in the copy or in the original; with ``whole`` at once,
    as it has to be where the original is somebody else's who may have other views of its memory.
    """
    kept = {id(tensor): tensor.detach().clone() for tensor in _computed(module)}
    if not whole:
        kept |= {id(weight): twin for weight in module.parameters() if (twin := shared(weight)) is not None}
    try:
        with torch.no_grad():  # recorded, the copy of a TorchScript module would have no leaves
            return copy.deepcopy(module, kept)
    except Exception as error:  # what a module holds may refuse in its own way
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ContractError(
            f"{name} cannot be copied ({reason}), and robench measures a copy; keep files, locks, loggers and "
            "generators outside the module."
        ) from error


def _computed(module: nn.Module) -> Iterator[Tensor]:
    for part in module.modules():
        yield from _inside(list(vars(part).values()), 4)


def _inside(value: Any, depth: int) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if not value.is_leaf:
            yield value
    elif depth and isinstance(value, dict):
        yield from _inside(list(value.values()), depth - 1)
    elif depth and isinstance(value, list | tuple):
        for entry in value:
            yield from _inside(entry, depth - 1)
