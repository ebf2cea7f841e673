"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from robench.errors import StoreError


def write_whole(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` atomically, unless it already holds it; StoreError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_bytes() == content:
            return
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            scratch.write_bytes(content)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}); choose another folder with --out.") from None
