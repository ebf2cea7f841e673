"""The store: artifacts by fingerprint, written atomically, checked when read, shared by several processes.

One artifact is one folder ``<kind>/<2 digits>/<fingerprint>`` (:mod:`robench.evidence.artifact_folder`). It is made
under ``tmp/`` and renamed into place, so it is there whole or not at all. Its files say which artifact they are, so
that one put in another's place is no evidence. Files and folders get the permissions that the user's umask and the
store's folder (setgid) give them, so that a group can share a store; one that cannot be written still answers what it
has. The time of its metadata is when an artifact was last used, to the day.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.errors import SpecError, StoreError
from robench.evidence.artifact_folder import META, Artifact, fill, read_checked
from robench.evidence.temporary_files import DAY, collect, new_folder

if TYPE_CHECKING:
    from torch import Tensor

_LOG = logging.getLogger(__name__)

#: Keys come from cards too, and a card may come from anyone: no dot and no slash.
_KEY = re.compile(r"[A-Za-z0-9_-]+")


def default_root() -> Path:
    """Return ``$ROBENCH_STORE`` or the user's cache folder; SpecError where the variable is set, and empty."""
    from platformdirs import user_cache_path

    named = os.environ.get("ROBENCH_STORE")
    if named is not None and not named.strip():
        raise SpecError("ROBENCH_STORE is set, but empty; give it a folder, unset it for the default, or give --store.")
    return Path(named) if named is not None else user_cache_path("robench") / "store"


class Store:
    """Keep artifacts under ``root``.

    Args:
        root: created if it is not there; StoreError if it cannot be.
        warn: told when a damaged artifact is set aside.
    """

    def __init__(self, root: Path, warn: Callable[[str], None] = lambda text: None) -> None:
        self.root = root
        self._warn = warn
        self._checked: dict[Path, Artifact] = {}
        with self._writing():
            self.read_only = root.is_dir() and not os.access(
                root, os.W_OK, effective_ids=os.access in os.supports_effective_ids
            )
        if self.read_only:
            _LOG.info("store: %s, which cannot be written: what is not there is computed and not kept", root)
            return
        with self._writing():
            for folder in ("tmp", "locks"):
                (root / folder).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=root / "tmp").close()
        collect(root / "tmp")
        _LOG.debug("store: %s", root)

    def folder(self, kind: str, key: str) -> Path:
        """Return where an artifact is, or would be; StoreError for a key that could lead elsewhere."""
        if not _KEY.fullmatch(key):
            raise StoreError(f"'{key[:80]}' is no key of the store, so the card that names it is not from robench run.")
        return self.root / kind / key[:2] / key

    def get(self, kind: str, key: str) -> Artifact | None:
        """Return the artifact, or None if it is not there or is damaged (then it is set aside and reported)."""
        path = self.folder(kind, key)
        if path in self._checked:
            return self._checked[path]
        while True:
            try:
                there = _identity(path)
                meta = read_checked(path)
                break
            except FileNotFoundError:
                reason = "a file is missing"
            except (NotADirectoryError, IsADirectoryError):
                reason = "something else is in its place"
                if not os.path.lexists(path):
                    raise StoreError(
                        f"The store needs a folder at {path.parent}, where a file is; remove that."
                    ) from None
            except ValueError as error:
                reason = str(error)
            except OSError as error:
                raise StoreError(
                    f"The store cannot read {path} ({error.strerror}); mend it or choose another with --store."
                ) from None
            now = _identity(path)
            if now is None:
                _LOG.debug("not in the store: %s %s", kind, key)
                return None
            if now == there:  # else another process has stored or replaced it meanwhile, and what was read is no damage
                self._set_aside(path, reason)
                return None
        self._mark_used(path)
        _LOG.debug("read and checked: %s", path)
        self._checked[path] = Artifact(path, meta)
        return self._checked[path]

    def put(
        self, kind: str, key: str, meta: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
    ) -> Artifact:
        """Store an artifact; if another process has stored it meanwhile, that one stays."""
        path = self.folder(kind, key)
        for _ in range(2):  # what another run left there may be damaged: it is set aside, and this one takes its place
            found = self.get(kind, key)
            if found is not None:
                return found
            with self._writing():
                written = self._write(path, kind, key, meta, tensors)
            _LOG.debug("stored: %s", path)
            if written is not None:
                self._checked[path] = Artifact(path, written)
                return self._checked[path]
        found = self.get(kind, key)
        if found is None:
            raise StoreError(f"What another run wrote to {path} does not read back; check the disk.")
        return found

    def replace(
        self, kind: str, key: str, meta: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
    ) -> Artifact:
        """Store an artifact in the place of the one that is there; hold its lock, and see that it means the same."""
        path = self.folder(kind, key)
        with self._writing():
            self._remove(path)
        return self.put(kind, key, meta, tensors)

    def remove(self, kind: str, key: str) -> bool:
        """Remove an artifact, unless another process works on it; tell whether it is gone."""
        with self._writing(), self.lock_at_once(kind, key) as held:
            if held:
                self._remove(self.folder(kind, key))
        return held

    def remove_temporary(self, path: Path) -> None:
        """Remove unfinished work, or what was set aside as damaged."""
        with self._writing(), suppress(FileNotFoundError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    @contextmanager
    def lock(self, kind: str, key: str) -> Iterator[None]:
        """Hold this fingerprint's lock, so that two processes do not do one work twice; a kill releases it."""
        from filelock import FileLock, Timeout

        if self.read_only:
            yield
            return
        path, mode = self._lock_file(kind, key)
        lock = FileLock(path, mode=mode)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _LOG.info("waiting for the process that holds %s", path)
            begun = time.perf_counter()
            lock.acquire()
            _LOG.info("waited %.1f s for %s", time.perf_counter() - begun, path)
        try:
            yield
        finally:
            lock.release()

    def scratch(self, kind: str, key: str) -> Path:
        """Return a file that belongs to unfinished work on this fingerprint; discard it when that is done."""
        return self.root / "tmp" / f"{kind}-{key}.partial"

    @contextmanager
    def lock_at_once(self, kind: str, key: str) -> Iterator[bool]:
        """Hold this fingerprint's lock and give True or, where another process has it, give False without waiting."""
        from filelock import FileLock, Timeout

        if self.read_only:
            yield True
            return
        path, mode = self._lock_file(kind, key)
        lock = FileLock(path, mode=mode, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            _LOG.debug("another process holds %s", path)
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _lock_file(self, kind: str, key: str) -> tuple[Path, int]:
        path = self.root / "locks" / f"{kind}-{key}.lock"
        with self._writing():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o666))
            return path, stat.S_IMODE(path.stat().st_mode)

    def _mark_used(self, path: Path) -> None:
        """Note that an artifact was used today; what belongs to another user, or cannot be written, stays as it is."""
        with suppress(OSError):
            if not self.read_only and time.time() - (path / META).stat().st_mtime > DAY:
                os.utime(path / META)

    def _remove(self, path: Path) -> None:
        """Take an artifact away at once, so that nobody meets half of it."""
        self._checked.pop(path, None)
        scratch = new_folder(self.root / "tmp")
        try:
            with suppress(FileNotFoundError):
                path.rename(scratch / path.name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _write(
        self, path: Path, kind: str, key: str, meta: Mapping[str, Any], tensors: Mapping[str, Tensor] | None
    ) -> dict[str, Any] | None:
        """Return the metadata that was written; None where another run was faster."""
        scratch = new_folder(self.root / "tmp")
        try:
            written = fill(scratch, kind, key, meta, tensors)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                scratch.rename(path)
            except OSError:
                if not os.path.lexists(path):
                    raise
                return None
            return written
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _set_aside(self, path: Path, reason: str) -> None:
        _LOG.warning("damaged, and set aside: %s (%s)", path, reason)
        if self.read_only:
            self._warn(f"{path} is damaged ({reason}), and the store cannot be written; it is not used.")
            return
        with self._writing():
            aside = Path(tempfile.mkdtemp(dir=self.root / "tmp", prefix="damaged-"))
            try:
                path.rename(aside / path.name)
            except FileNotFoundError:  # another process was faster
                aside.rmdir()
                return
        self._warn(f"{path} is damaged ({reason}); it was moved to {aside} and is computed again.")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"The store at {self.root} cannot be written ({error.strerror or error}). Free some space or mend "
                "the permissions, or choose another folder with --store; what is already stored stays valid."
            ) from None


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells the folder at this place from one that is stored there later; None where there is none."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_ctime_ns
