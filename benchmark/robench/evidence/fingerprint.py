"""Fingerprints: what a result depends on, hashed, without importing torch or loading anything.

Fingerprint of a stage = hash of its component (name, version, parameters, source code, local files), of its inputs'
fingerprints, and of the stage's own version.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from robench.contracts.components import Component
from robench.errors import DataError, attributed_to

#: Raise a stage's number when robench itself begins to compute something else there.
STAGES = {"load": 1, "train": 1, "fit": 3, "craft": 2, "score": 3, "illustrate": 2, "probe": 2, "judge": 5, "record": 2}

#: Images per stored adversarial artifact: what a kill can cost, and the most that is held at once.
CHUNK = 256

#: A plugin package larger than this is represented by the component's own module.
MOST_SOURCES = 400

#: A folder of more files than this is known by its listing; checkpoints have fewer, image folders more.
MOST_READ = 100


def fingerprint(stage: str, **inputs: Any) -> str:
    """Return the sha256 of a stage's version and its inputs (anything JSON can hold)."""
    text = json.dumps({"stage": stage, "version": STAGES[stage], **inputs}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def of_component(component: Component) -> dict[str, Any]:
    """Return what a component's result depends on, as JSON values."""
    with attributed_to(f"listing the files of {component.name}", DataError):
        files = component.files()
    return {
        "name": component.name,
        "version": component.version,
        "parameters": component.parameters,
        "code": of_code(type(component).__module__),
        "files": of_files(files),
    }


@lru_cache(maxsize=256)
def of_code(module: str) -> str:
    """Return the sha256 over the source files of the top-level package that defines ``module``.

    Editing a plugin must not serve yesterday's results, whether or not its author raised a version.
    """
    package = sys.modules.get(module.partition(".")[0])
    root = getattr(package, "__file__", None)
    own = getattr(sys.modules.get(module), "__file__", None)
    if root is None or own is None:
        return hashlib.sha256(module.encode()).hexdigest()
    sources = sorted(Path(root).parent.rglob("*.py")) if Path(root).name == "__init__.py" else [Path(own)]
    if len(sources) > MOST_SOURCES:
        sources = [Path(own)]
    hasher = hashlib.sha256()
    for source in sources:
        hasher.update(source.name.encode() + b"\0" + hashlib.sha256(source.read_bytes()).digest())
    return hasher.hexdigest()


def of_files(paths: Iterable[Path]) -> str:
    """Return the sha256 over local files: content, or for a folder of many files (photos) name, size and time.

    Where a file lies does not matter. A missing path contributes its absence, and so does one that cannot be read: the
    component that needs it says so when it loads.
    """
    found = list(paths)
    hasher = hashlib.sha256()
    for path in found:
        entries = sorted(_files_in(path)) if os.path.isdir(path) else [path]
        by_content = len(entries) <= MOST_READ
        for entry in entries:
            name = os.fsencode(entry.relative_to(path)) if entry != path else b""
            hasher.update(name + f"\0{_state(entry, by_content)}\n".encode())
    return hasher.hexdigest() if found else ""


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder at any depth; a folder is entered once, whatever links lead to it."""
    root = Path(folder.resolve().anchor).stat()
    # The whole file system is nobody's weights or photos; a card of anyone may name it, and a link may lead there.
    seen = {(root.st_dev, root.st_ino)}
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            state = place.stat()
            if (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
            entries = sorted(os.scandir(place), key=lambda entry: (entry.is_symlink(), os.fsencode(entry.name)))
        except OSError:
            yield place  # as what is missing
            continue
        for entry in reversed(entries):  # the last is taken first
            if os.path.isdir(entry.path):
                waiting.append(Path(entry.path))
            elif os.path.isfile(entry.path):
                yield Path(entry.path)


def _state(path: Path, by_content: bool) -> str:
    try:
        if not os.path.isfile(path):
            return "missing"
        if not by_content:
            state = path.stat()
            return f"{state.st_size} {state.st_mtime_ns}"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "missing"  # unreadable: whoever needs it says so
