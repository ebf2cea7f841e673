"""An attack may ask a model anything; it may not rebuild it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from robench.errors import ContractError

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


@contextmanager
def unchanged(model: nn.Module, name: str) -> Iterator[None]:
    """Raise ContractError if a module's class, functions, children or hooks are others at the end than at the start."""
    before = structure_of(model)
    yield
    after = structure_of(model)
    if after == before:
        return
    changed = sorted(place for place in {*before, *after} if before.get(place) != after.get(place))
    raise ContractError(
        f"{name} rebuilt the model that it attacked: after it, other functions, layers or hooks are in place "
        f"({', '.join(place or type(model).__name__ for place in changed[:3])}). An attack may only ask the model; let "
        "it work on a copy, and remove the hooks that it registers."
    )


def structure_of(model: nn.Module) -> dict[str, tuple[Any, ...]]:
    """Return, by module name, what decides which code answers: never a tensor, so it costs next to nothing."""
    return {name: _parts(module) for name, module in model.named_modules()}


def _parts(module: nn.Module) -> tuple[Any, ...]:
    own = vars(module)
    functions = sorted((key, id(value)) for key, value in own.items() if callable(value))
    hooks = tuple(tuple(own.get(key) or ()) for key in _HOOKS)
    return (id(module), type(module), id(inspect.getattr_static(type(module), "forward", None)), functions, hooks)
