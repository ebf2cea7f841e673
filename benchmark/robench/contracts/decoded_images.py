"""Keep decoded images for the next pass over them, up to a share of memory that all data sets of a process have."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from weakref import finalize

from torch import Tensor

#: Bytes of decoded images that a process keeps: 1,780 at 224 px.
MOST_BYTES = 256 * 2**20

_lock = Lock()
_kept = 0


class DecodedImages:
    """Decode each image once, as long as there is room; those that came first stay, since passes go in order.

    Args:
        decode: returns image number ``row`` as uint8 (C, H, W).
    """

    def __init__(self, decode: Callable[[int], Tensor]) -> None:
        self._decode = decode
        self._images: dict[int, Tensor] = {}
        finalize(self, _forget, self._images)

    def get(self, row: int) -> Tensor:
        """Return the image, decoded now or earlier; do not write to it."""
        found = self._images.get(row)
        if found is None:
            found = self._decode(row)
            if _room_for(found.nbytes):
                self._images[row] = found
        return found


def _room_for(size: int) -> bool:
    global _kept
    with _lock:
        fits = _kept + size <= MOST_BYTES
        _kept += size * fits
        return fits


def _forget(images: dict[int, Tensor]) -> None:
    global _kept
    with _lock:
        _kept -= sum(image.nbytes for image in images.values())
