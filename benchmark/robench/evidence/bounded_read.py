"""Read files that came from anyone: of a size that is known before they are read, and of no other kind than a file."""

from __future__ import annotations

import stat
from pathlib import Path

from robench.errors import CardError

#: The largest cards are of 100 classes and 50,000 images and have less than a megabyte.
MOST_BYTES = 16_000_000


def read_bounded(path: Path) -> bytes:
    """Return the content of a card's file.

    Raises:
        CardError: it is absent, no regular file (a pipe would never end), or larger than any card.
    """
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            kind = "a folder" if stat.S_ISDIR(state.st_mode) else "a pipe or a device"
            raise CardError(f"{path} is {kind}, not a card; name the JSON file that robench run wrote.")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise CardError(f"card {path} cannot be read ({getattr(error, 'strerror', None) or error}).") from None
    if len(content) > MOST_BYTES:
        raise CardError(
            f"{path} has {max(state.st_size, len(content)):,} bytes; a card has at most {MOST_BYTES:,}, so it was not "
            "written by robench run."
        )
    return content
