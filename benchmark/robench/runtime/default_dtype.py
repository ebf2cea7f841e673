"""Attacks run in float32, whatever torch's default is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Let tensors that are made without a type be float32 inside; the caller's default is back afterwards."""
    torch = sys.modules.get("torch")  # not imported yet, nobody has changed its default
    if torch is None:
        yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
