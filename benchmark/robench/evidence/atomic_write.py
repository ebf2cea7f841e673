"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from robench.errors import StoreError


def ready_folder(folder: Path, option: str = "--out") -> None:
    """Make a folder that will be written to, before the work whose result it is for; StoreError if it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"{folder} cannot be written ({reason}); choose another folder with {option}.") from None


def ready_file(file: Path, option: str = "--out") -> None:
    """See that a file can be written, before the work whose result it is for; StoreError if it cannot be."""
    if file.is_dir():
        raise StoreError(f"{file} is a folder, where a file is to be written; name a file with {option}.")
    ready_folder(file.parent, option)
    try:
        if os.path.exists(file):
            file.open("ab").close()
        else:
            file.touch()
            file.unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"{file} cannot be written ({reason}); name another file with {option}.") from None


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
