"""Hash what is written to a file while it is written, so that nobody has to read it for that."""

from __future__ import annotations

import hashlib
from typing import Any


class HashedFile:
    """Write through to a binary file; ``hash`` is the SHA-256 of what was written, after ``begin``."""

    def __init__(self, file: Any, begin: bytes = b"") -> None:
        self._file = file
        self.hash = hashlib.sha256(begin)

    def write(self, content: Any) -> int:
        """Write ``content``, any bytes."""
        self.hash.update(content)
        return int(self._file.write(content))

    def flush(self) -> None:
        """Hand on what is buffered."""
        self._file.flush()
