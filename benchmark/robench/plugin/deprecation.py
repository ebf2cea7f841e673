"""Names of the plugin API that still work and have been replaced: each use says by what."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

#: Old name of ``from robench import ...`` -> its new name, and the API that renamed it.
RENAMED: dict[str, tuple[str, int]] = {}


class ApiDeprecationWarning(DeprecationWarning):
    """Warn the author of a plugin about a name of the API that will go.

    ``robench plugins`` and ``robench check-plugin`` show it, pytest does by itself, and a run keeps quiet.
    """


def warn_deprecated(old: str, use: str, since: int, stacklevel: int = 3) -> None:
    """Say that ``old`` was replaced by ``use`` in API ``since``, at the line that used it."""
    warnings.warn(
        f"{old} is deprecated since robench API {since}; use {use}.", ApiDeprecationWarning, stacklevel=stacklevel
    )


def deprecated(*, use: str, since: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function or method of the API as replaced by ``use`` since API ``since``; it goes on working."""

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def warned(*args: P.args, **kwargs: P.kwargs) -> R:
            warn_deprecated(function.__qualname__, use, since)
            return function(*args, **kwargs)

        return warned

    return mark
