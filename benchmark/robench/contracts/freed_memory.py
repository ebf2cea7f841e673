"""Give freed memory back to the system, so that a long run over large images does not grow."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

#: Bytes of images as float32 after which freed memory is given back: some 55 images at 224 x 224, 2,700 at 32 x 32.
AFTER = 32 * 2**20


class FreedMemory:
    """Give back what was freed whenever ``AFTER`` bytes of images have been served.

    glibc keeps freed blocks of up to 32 MiB and, since torch asks for aligned blocks, often finds that the next of the
    same size does not fit where the last one lay (glibc bug 14581): the heap grows by tens of KiB an image at
    224 x 224, of which nothing is in use. Where the C library is another one, nothing is done.
    """

    def __init__(self) -> None:
        self._served = 0

    def served(self, count: int) -> None:
        """Tell of ``count`` more bytes of images that were served and are done with."""
        self._served += count
        if self._served >= AFTER:
            self._served = 0
            give_back()


def give_back() -> bool:
    """Return freed memory of this process to the system; False where the C library cannot."""
    trim = _malloc_trim()
    if trim is None:
        return False
    trim(0)
    return True


@cache
def _malloc_trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # macOS and musl have none; Windows has no such library
        return None
