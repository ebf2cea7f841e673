"""An artifact on disk: a folder with its metadata and, if it has tensors, one file of them, compressed where that pays.

``meta.json`` says which artifact it is and holds the checksums; ``data.safetensors`` holds the tensors, or
``data.safetensors.gz`` does, which is the same file after ``gunzip``.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.contracts.hashed_file import HashedFile
from robench.errors import StoreError

if TYPE_CHECKING:
    from torch import Tensor

META, DATA, PACKED = "meta.json", "data.safetensors", "data.safetensors.gz"

#: Compression: the level, the bytes below which a file stays as it is, the bytes of it that are tried, and the share
#: to which they must come down. Weights do not; adversarial images at 32 x 32 take 0.3 of their bytes.
LEVEL, LEAST, SAMPLE, PAYS = 1, 2**16, 2**17, 0.75
_BLOCK = 2**23
#: Threads that compress; zlib releases the interpreter lock.
COMPRESSORS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Artifact:
    """Hold one stored result: its metadata, and its tensors when asked for."""

    path: Path
    meta: dict[str, Any]

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors, on the CPU, bit for bit as they were stored; none if it was stored without."""
        from safetensors.torch import load, load_file

        if (self.path / DATA).exists():
            return load_file(self.path / DATA)
        if not (self.path / PACKED).exists() and (self.path / META).exists():
            return {}
        return load(self.content())

    def content(self) -> bytes:
        """Return the tensors as the bytes of a safetensors file."""
        try:
            file = data_file(self.path)
            if file.name == DATA:
                return file.read_bytes()
            with gzip.open(file) as packed:  # gzip.decompress copies what is left at each of its parts
                return packed.read()
        except FileNotFoundError:
            raise StoreError(
                f"{self.path} was removed while it was in use (by robench store prune?); start again, and what is "
                "missing is computed."
            ) from None


def data_file(path: Path) -> Path:
    """Return the file of tensors in an artifact's folder, whichever of the two there is."""
    return path / DATA if (path / DATA).exists() else path / PACKED


def fill(
    folder: Path, kind: str, key: str, meta: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
) -> dict[str, Any]:
    """Write an artifact into an empty folder; return its metadata as it will be read. Its bytes are hashed once."""
    digest = None
    if tensors is not None:
        _save(folder, kind, key, tensors)
        digest = _compress(folder) or _digest(folder / DATA)
    # There and back first: as numbers, keys sort in another order than as the strings that are read.
    checks = {"kind": kind, "key": key, "meta": json.loads(json.dumps(meta, allow_nan=False)), "data": digest}
    with (folder / META).open("w", encoding="utf-8") as file:
        json.dump({**checks, "sha256": _checksum(checks)}, file)
        file.flush()
        os.fsync(file.fileno())
    if tensors is not None:
        data_file(folder).chmod(stat.S_IMODE((folder / META).stat().st_mode))  # safetensors writes 0600
    found: dict[str, Any] = checks["meta"]
    return found


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
        file = data_file(path)
        if tensors and _digest(file) != checks["data"]:
            raise ValueError("its tensors do not match their checksum")
        file.stat()
    meta: dict[str, Any] = checks["meta"]
    return meta


def _save(folder: Path, kind: str, key: str, tensors: Mapping[str, Tensor]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain, folder / DATA, metadata={"kind": kind, "key": key})
    except SafetensorError as error:  # a full disk is no OSError there
        raise OSError(str(error)) from None


def _compress(folder: Path) -> str | None:
    """Put the compressed file in the place of the plain one if a part of it shrinks enough; return its digest then."""
    plain, packed = folder / DATA, folder / PACKED
    size = plain.stat().st_size
    if size < LEAST:
        return None
    with plain.open("rb") as source:
        source.seek(max(size - SAMPLE, 0) // 2)
        sample = source.read(SAMPLE)
        if len(zlib.compress(sample, LEVEL)) > PAYS * len(sample):
            return None
        # Part by part, each a member of the file, so that several processors compress at a time.
        with packed.open("wb") as file, ThreadPoolExecutor(COMPRESSORS) as pool:
            written = HashedFile(file)
            for part in pool.map(partial(_member, source.fileno()), range(0, size, _BLOCK)):
                written.write(part)
    plain.unlink()
    return str(written.hash.hexdigest())


def _member(source: int, start: int) -> bytes:
    """Return a part of an open file, compressed; no name and no time in its header."""
    return gzip.compress(os.pread(source, _BLOCK, start), LEVEL, mtime=0)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum(checks: Mapping[str, Any]) -> str:
    body = json.dumps({name: checks.get(name) for name in ("kind", "key", "meta", "data")}, sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()
