"""What is written under a temporary name first, and taken away again where a run was killed meanwhile."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path

#: What half-written artifacts begin with, and half-written checkpoints end with.
WRITING, CHECKPOINT = "writing-", ".writing"
#: Seconds after which nobody on another machine is writing any more.
DAY = 86400


def new_folder(folder: Path) -> Path:
    """Make a folder whose name says which process fills it."""
    scratch = folder / f"{WRITING}{_here()}-{os.getpid()}-{uuid.uuid4().hex}"
    scratch.mkdir()  # not by tempfile, whose folders nobody else may enter
    return scratch


def collect(folder: Path) -> None:
    """Remove what killed runs left half-written in ``folder``; what another machine wrote, after a day."""
    for path in folder.glob(f"{WRITING}*"):
        with suppress(OSError, ValueError):
            if left_over(path):
                shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f"*{CHECKPOINT}"):
        with suppress(OSError):
            if _old(path):
                path.unlink()


def collect_beside(path: Path) -> None:
    """Remove what killed runs left of this very file, a day ago or earlier."""
    for other in path.parent.glob(f".{path.name}.*"):
        with suppress(OSError):
            if _old(other):
                other.unlink()


def left_over(path: Path) -> bool:
    """Tell whether nobody fills this folder any more; ValueError for a name that is none of :func:`new_folder`'s."""
    place, process, *_ = path.name.removeprefix(WRITING).split("-")
    if place != _here():
        return _old(path)
    import psutil

    return not psutil.pid_exists(int(process))  # os.kill(process, 0) would end it on Windows


def _old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > DAY


def _here() -> str:
    """Return a short word for this machine that does not tell its name."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]
