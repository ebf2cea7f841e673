"""An artifact on disk: a folder with its metadata and, if it has tensors, one file of them, compressed where that pays.

``meta.json`` says which artifact it is and holds the checksums; ``data.safetensors`` holds the tensors, or
``data.safetensors.gz`` does, which is the same file after ``gunzip``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.contracts.hashed_file import HashedFile
from robench.errors import StoreError
from robench.evidence import tensor_file

if TYPE_CHECKING:
    from torch import Tensor

META, DATA, PACKED = "meta.json", "data.safetensors", "data.safetensors.gz"

#: Compression: ISA-L's level (0 to 3), the bytes below which a file stays as it is, the bytes of it that are tried, and
#: the share to which they must come down. Weights do not; adversarial images at 32 x 32 take 0.3 of their bytes.
LEVEL, LEAST, SAMPLE, PAYS = 2, 2**16, 2**17, 0.75
_BLOCK = 2**23
#: A deflate window of 32 KB (15), and gzip's header and checksum around it (16).
_GZIP = 15 + 16
#: Threads that compress; ISA-L's binding releases the interpreter lock.
COMPRESSORS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Artifact:
    """Hold one stored result: its metadata, and its tensors when asked for."""

    path: Path
    meta: dict[str, Any]

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors, on the CPU, bit for bit as they were stored; none if it was stored without."""
        from safetensors.torch import load_file

        if (self.path / DATA).exists():
            return load_file(self.path / DATA)
        if not (self.path / PACKED).exists() and (self.path / META).exists():
            return {}
        with self._opened() as file:
            return tensor_file.read(file)

    def content(self) -> bytes:
        """Return the tensors as the bytes of a safetensors file."""
        with self._opened() as file:
            return bytes(file.read())

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        from isal import igzip

        try:
            path = data_file(self.path)
            with path.open("rb") if path.name == DATA else igzip.IGzipFile(path, "rb") as file:
                yield file
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
        digest = _save(folder, tensor_file.parts(tensors, {"kind": kind, "key": key}))
    # There and back first: as numbers, keys sort in another order than as the strings that are read.
    checks = {"kind": kind, "key": key, "meta": json.loads(json.dumps(meta, allow_nan=False)), "data": digest}
    with (folder / META).open("w", encoding="utf-8") as file:
        json.dump({**checks, "sha256": _checksum(checks)}, file)
        file.flush()
        os.fsync(file.fileno())
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


def _save(folder: Path, content: Sequence[memoryview]) -> str:
    """Write the tensors' file, compressed if a part of it shrinks enough; return its digest."""
    size = sum(map(len, content))
    packed = size >= LEAST and _shrinks(b"".join(tensor_file.cut(content, *_sample(size))))
    with (folder / (PACKED if packed else DATA)).open("wb") as file:
        written = HashedFile(file)
        if packed:
            # Part by part, each a member of the file, so that several processors compress at a time.
            with ThreadPoolExecutor(COMPRESSORS) as pool:
                for member in pool.map(partial(_member, content), range(0, size, _BLOCK)):
                    written.write(member)
        else:
            for part in content:
                written.write(part)
    return str(written.hash.hexdigest())


def _sample(size: int) -> tuple[int, int]:
    """Return where the part begins and ends that is tried, in the middle of so many bytes."""
    start = max(size - SAMPLE, 0) // 2
    return start, start + SAMPLE


def _shrinks(sample: bytes) -> bool:
    from isal import isal_zlib

    return len(isal_zlib.compress(sample, LEVEL)) <= PAYS * len(sample)


def _member(content: Sequence[memoryview], start: int) -> bytes:
    """Return the part of the content from ``start`` on, compressed; no name and no time in its header."""
    from isal import isal_zlib

    packer = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, _GZIP)
    return b"".join([*map(packer.compress, tensor_file.cut(content, start, start + _BLOCK)), packer.flush()])


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum(checks: Mapping[str, Any]) -> str:
    body = json.dumps({name: checks.get(name) for name in ("kind", "key", "meta", "data")}, sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()
