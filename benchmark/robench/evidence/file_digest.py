"""Local files by their content, read once and remembered, so that a copy anywhere is the same files."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from robench.errors import DataError

#: Bytes in all below which reading is cheaper than remembering.
REMEMBERED = 4 * 2**20
#: Nanoseconds for which a file counts as still being written: its clock may not tell two writes apart.
FRESH = 2 * 10**9
#: What file managers leave behind.
LITTER = frozenset({"__pycache__", "Thumbs.db", "desktop.ini"})

_TABLE = "CREATE TABLE IF NOT EXISTS contents (path TEXT PRIMARY KEY, state TEXT NOT NULL, sha256 TEXT NOT NULL)"


def of_files(paths: Iterable[Path]) -> str:
    """Return the sha256 over the content of local files, and of folders by the names and contents of what is in them.

    Where a file lies and when it was written do not matter; hidden files do not count. A missing path contributes its
    absence, and so does one that cannot be read: the component that needs it says so when it loads.
    """
    found = [(path, _entries(path) if os.path.isdir(path) else [path]) for path in paths]
    if not found:
        return ""
    known = iter(_digests([entry for _, entries in found for entry in entries]))
    hasher = hashlib.sha256()
    for path, entries in found:
        for entry in entries:
            name = os.fsencode(entry.relative_to(path).as_posix()) if entry != path else b""
            hasher.update(name + f"\0{next(known)}\n".encode())
    return hasher.hexdigest()


def cache_file() -> Path:
    """Return where the contents of files are remembered; losing it costs the time to read them again."""
    from platformdirs import user_cache_path

    return user_cache_path("robench") / "contents.sqlite3"


def _entries(folder: Path) -> list[Path]:
    """Return the files in a folder at any depth, by name; a folder is entered once, whatever links lead to it."""
    root = Path(folder.resolve().anchor)
    if folder.resolve() == root:
        raise DataError(f"{folder} is the root of the file system, with every file there is; name the folder itself.")
    # A link may lead to the root as well, and the whole file system is nobody's weights or photos.
    entered = {_identity(root)}
    found, waiting = list[Path](), [folder]
    while waiting:
        place = waiting.pop()
        try:
            identity = _identity(place)
            if identity in entered:
                continue
            entered.add(identity)
            inside = [entry for entry in os.scandir(place) if not _litter(entry.name)]
        except OSError:
            found.append(place)  # counts as missing
            continue
        inside.sort(key=lambda entry: (entry.is_symlink(), os.fsencode(entry.name)), reverse=True)
        waiting += [Path(entry.path) for entry in inside if os.path.isdir(entry.path)]
        found += [Path(entry.path) for entry in inside if os.path.isfile(entry.path)]
    return sorted(found, key=lambda entry: os.fsencode(entry.relative_to(folder).as_posix()))


def _identity(folder: Path) -> tuple[int, int]:
    state = folder.stat()
    return state.st_dev, state.st_ino


def _litter(name: str) -> bool:
    return name.startswith(".") or name in LITTER


def _digests(files: Sequence[Path]) -> list[str]:
    states = [file.stat() if os.path.isfile(file) else None for file in files]
    if sum(state.st_size for state in states if state is not None) < REMEMBERED:
        return [_read(file) for file in files]
    # When its content or its owner's mind changed: a copied time stamp does not hide an edit.
    marks = [f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}" if state else "" for state in states]
    memory = Memory(cache_file())
    known = memory.recall({str(file.absolute()): mark for file, mark in zip(files, marks, strict=True) if mark})
    fresh: list[tuple[str, str, str]] = []
    found, newest = [], time.time_ns() - FRESH
    for file, state, mark in zip(files, states, marks, strict=True):
        digest = known.get(str(file.absolute())) or _read(file)
        found.append(digest)
        if state is not None and str(file.absolute()) not in known and state.st_mtime_ns < newest:
            fresh.append((str(file.absolute()), mark, digest))
    memory.keep(fresh)
    return found


def _read(path: Path) -> str:
    try:
        if not os.path.isfile(path):
            return "missing"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "missing"  # unreadable: whoever needs it says so


class Memory:
    """Remember digests by path and state in one file; whatever is wrong with that file, they are computed again."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def recall(self, marks: dict[str, str]) -> dict[str, str]:
        """Return the digests of those of these paths whose state is as it was."""
        try:
            with closing(sqlite3.connect(self._file, timeout=5)) as table:
                rows = (
                    table.execute("SELECT path, state, sha256 FROM contents WHERE path = ?", (path,)).fetchone()
                    for path in marks
                )
                kept = [row for row in rows if row is not None]
        except sqlite3.Error:
            return {}
        return {path: digest for path, state, digest in kept if marks[path] == state and _is_digest(digest)}

    def keep(self, rows: Sequence[tuple[str, str, str]]) -> None:
        """Remember (path, state, digest) rows, if that is possible."""
        if not rows:
            return
        for _ in range(2):
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with closing(sqlite3.connect(self._file, timeout=5)) as table, table:
                    table.execute(_TABLE)
                    table.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", rows)
                return
            except sqlite3.OperationalError:  # locked, read-only or without space
                return
            except sqlite3.DatabaseError:  # damaged: begun again
                self._file.unlink(missing_ok=True)
            except OSError:
                return


def _is_digest(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64
