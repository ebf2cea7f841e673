"""Read files that came from anyone: of a size that is known before they are read, and of no other kind than a file."""

from __future__ import annotations

import stat
from pathlib import Path

from robench.errors import CardError, RobenchError

#: The largest cards are of 100 classes and 50,000 images and have less than a megabyte.
MOST_BYTES = 16_000_000


def read_bounded(
    path: Path,
    what: str = "card",
    other: str = "the JSON file that robench run wrote",
    most: int = MOST_BYTES,
    kind: type[RobenchError] = CardError,
) -> bytes:
    """Return the content of a card's file, or of another kind of text.

    Args:
        path: the file.
        what: what it should be, in one word.
        other: what to name instead.
        most: the most bytes that such a file has.
        kind: the error to raise.

    Raises:
        CardError: or ``kind``: it is absent, no regular file (a pipe would never end), or larger than any such file.
    """
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            found = "a folder" if stat.S_ISDIR(state.st_mode) else "a pipe or a device"
            raise kind(f"{path} is {found}, not a {what}; name {other}.")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise kind(f"{what} {path} cannot be read ({reason}); name {other}.") from None
    if len(content) > most:
        raise kind(
            f"{path} has {max(state.st_size, len(content)):,} bytes; a {what} has at most {most:,}: name {other}."
        )
    return content
