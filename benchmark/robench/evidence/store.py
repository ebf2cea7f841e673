"""The store: artifacts by fingerprint, written atomically, checked when read, shared by several processes.

One artifact is one folder ``<kind>/<2 digits>/<fingerprint>`` with ``meta.json`` and, if it has tensors,
``data.safetensors``. It is made under ``tmp/`` and renamed into place, so it is there whole or not at all. Both files
say which artifact they are, so that one put in another's place is no evidence. Files and folders get the permissions
that the user's umask and the store's folder (setgid) give them, so that a group can share a store; one that cannot be
written still answers what it has.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.errors import SpecError, StoreError

if TYPE_CHECKING:
    from torch import Tensor

META, DATA = "meta.json", "data.safetensors"

#: What half-written artifacts under ``tmp/`` begin with, and the seconds after which nobody is writing them any more.
WRITING, DAY = "writing-", 86400

#: Keys come from cards too, and a card may come from anyone: no dot and no slash.
_KEY = re.compile(r"[A-Za-z0-9_-]+")


def default_root() -> Path:
    """Return ``$ROBENCH_STORE`` or the user's cache folder; SpecError where the variable is set, and empty."""
    from platformdirs import user_cache_path

    named = os.environ.get("ROBENCH_STORE")
    if named is not None and not named.strip():
        raise SpecError("ROBENCH_STORE is set, but empty; give it a folder, unset it for the default, or give --store.")
    return Path(named) if named is not None else user_cache_path("robench") / "store"


@dataclass(frozen=True)
class Artifact:
    """Hold one stored result: its metadata, and its tensors when asked for."""

    path: Path
    meta: dict[str, Any]

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors, on the CPU."""
        from safetensors.torch import load_file

        return load_file(self.path / DATA)


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
            return
        with self._writing():
            for folder in ("tmp", "locks"):
                (root / folder).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=root / "tmp").close()
        collect(root / "tmp")

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
        try:
            meta = read_checked(path)
        except FileNotFoundError:
            if os.path.lexists(path):
                self._set_aside(path, "a file is missing")
            return None
        except (NotADirectoryError, IsADirectoryError):
            if os.path.lexists(path):
                self._set_aside(path, "something else is in its place")
                return None
            raise StoreError(f"The store needs a folder at {path.parent}, where a file is; remove that.") from None
        except ValueError as error:
            self._set_aside(path, str(error))
            return None
        except OSError as error:
            raise StoreError(
                f"The store cannot read {path} ({error.strerror}); mend it or choose another with --store."
            ) from None
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
                self._write(path, kind, key, meta, tensors)
        found = self.get(kind, key)
        if found is None:
            raise StoreError(f"What was just written to {path} does not read back; check the disk.")
        return found

    @contextmanager
    def lock(self, kind: str, key: str) -> Iterator[None]:
        """Hold this fingerprint's lock, so that two processes do not do one work twice; a kill releases it."""
        from filelock import FileLock

        if self.read_only:
            yield
            return
        path = self.root / "locks" / f"{kind}-{key}.lock"
        with self._writing():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o666))
            mode = stat.S_IMODE(path.stat().st_mode)
        with FileLock(path, mode=mode):
            yield

    def scratch(self, kind: str, key: str) -> Path:
        """Return a file that belongs to unfinished work on this fingerprint; discard it when that is done."""
        return self.root / "tmp" / f"{kind}-{key}.partial"

    def _write(
        self, path: Path, kind: str, key: str, meta: Mapping[str, Any], tensors: Mapping[str, Tensor] | None
    ) -> None:
        scratch = self.root / "tmp" / f"{WRITING}{_here()}-{os.getpid()}-{uuid.uuid4().hex}"
        try:
            scratch.mkdir()  # not by tempfile, whose folders nobody else may enter
            _fill(scratch, kind, key, meta, tensors)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                scratch.rename(path)
            except OSError:
                if not os.path.lexists(path):
                    raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _set_aside(self, path: Path, reason: str) -> None:
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


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fill(scratch: Path, kind: str, key: str, meta: Mapping[str, Any], tensors: Mapping[str, Tensor] | None) -> None:
    digest = None
    if tensors is not None:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        try:
            save_file(plain, scratch / DATA, metadata={"kind": kind, "key": key})
        except SafetensorError as error:  # a full disk is no OSError there
            raise OSError(str(error)) from None
        digest = _digest(scratch / DATA)
    # There and back first: as numbers, keys sort in another order than as the strings that are read.
    checks = {"kind": kind, "key": key, "meta": json.loads(json.dumps(meta, allow_nan=False)), "data": digest}
    with (scratch / META).open("w", encoding="utf-8") as file:
        json.dump({**checks, "sha256": _checksum(checks)}, file)
        file.flush()
        os.fsync(file.fileno())
    if tensors is not None:
        (scratch / DATA).chmod(stat.S_IMODE((scratch / META).stat().st_mode))  # written as 0600


def _checksum(checks: Mapping[str, Any]) -> str:
    body = json.dumps({name: checks.get(name) for name in ("kind", "key", "meta", "data")}, sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()


def read_checked(path: Path, *, tensors: bool = True) -> dict[str, Any]:
    """Return the metadata in an artifact's folder after checking it; ValueError says what does not match.

    Without ``tensors`` their checksum is not computed, only that the file is there.
    """
    checks = json.loads((path / META).read_text(encoding="utf-8"))
    if not isinstance(checks, dict) or not isinstance(checks.get("meta"), dict):
        raise ValueError("its metadata is not what robench writes")
    if _checksum(checks) != checks.get("sha256"):
        raise ValueError("its metadata does not match its checksum")
    if (checks["kind"], checks["key"]) != (path.parents[1].name, path.name):
        raise ValueError(f"it is {checks['kind']} {str(checks['key'])[:8]}, in the place of another")
    if checks["data"] is not None:
        if tensors and _digest(path / DATA) != checks["data"]:
            raise ValueError("its tensors do not match their checksum")
        (path / DATA).stat()
    meta: dict[str, Any] = checks["meta"]
    return meta


def collect(folder: Path) -> None:
    """Remove what killed runs left half-written in ``folder``; what another machine wrote, after a day."""
    for path in folder.glob(f"{WRITING}*"):
        place, process, *_ = path.name.removeprefix(WRITING).split("-")
        with suppress(OSError, ValueError):
            gone = time.time() - path.stat().st_mtime > DAY if place != _here() else not _runs(int(process))
            if gone:
                shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob("*.writing"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > DAY:
                path.unlink()


def _here() -> str:
    """Return a short word for this machine."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
