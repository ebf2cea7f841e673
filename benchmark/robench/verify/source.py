"""Where stored results come from: a store, or a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor


class Stored(Protocol):
    """Be one stored result."""

    @property
    def meta(self) -> Mapping[str, Any]:
        """Return its figures."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Return its tensors, on the CPU."""


class Source(Protocol):
    """Give stored results by kind and key."""

    def get(self, kind: str, key: str) -> Stored | None:
        """Return the result, or None if it is not there."""
