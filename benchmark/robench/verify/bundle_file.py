"""The file format of bundles: a zip of JSON and safetensors files, read with distrust and without executing anything.

bundle.json                                  what the file is, and the sha256 and size of each other file
card.json                                    the card
artifacts/KIND/KEY/meta.json                 figures of a stored result
artifacts/KIND/KEY/data.safetensors          its tensors
images/START.safetensors                     the clean test images, where they are in it
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from robench.errors import CardError, StoreError
from robench.evidence.files import MOST_BYTES, parse

MANIFEST, CARD, VERSION = "bundle.json", "card.json", 1
#: Names that a bundle may hold; none leads out of a folder.
_NAME = re.compile(
    r"bundle\.json|card\.json|artifacts/[a-z]{1,40}/[A-Za-z0-9_-]{1,80}/(?:meta\.json|data\.safetensors)"
    r"|images/[0-9]{1,9}\.safetensors"
)
#: Entries that a bundle may have: 250 million images in chunks, and more than any card counts.
MOST_ENTRIES = 1_000_000
#: How much smaller than its content an entry may be: images with many equal pixels reach 60, zeros alone 1,000.
MOST_RATIO, SMALL = 200, 1 << 20


def write_bundle(file: Path, contents: Iterator[tuple[str, bytes]], card: bytes) -> dict[str, Any]:
    """Write the contents, as they come, and return the list of them; the file is there whole or not at all."""
    scratch = file.with_name(f".{file.name}.writing")
    listed: dict[str, Any] = {}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            _add(archive, CARD, card, listed)
            for name, content in contents:
                _add(archive, name, content, listed)
            manifest = {"kind": "robench bundle", "version": VERSION, "files": listed}
            archive.writestr(_entry(MANIFEST), json.dumps(manifest, sort_keys=True, indent=1))
        scratch.replace(file)
    except OSError as error:
        raise StoreError(f"{file} cannot be written ({error.strerror}); choose another file with --out.") from None
    finally:
        scratch.unlink(missing_ok=True)
    return manifest


def _add(archive: zipfile.ZipFile, name: str, content: bytes, listed: dict[str, Any]) -> None:
    archive.writestr(_entry(name), content)
    listed[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _entry(name: str) -> zipfile.ZipInfo:
    """Return an entry without a time or an owner, so that the same evidence gives the same file."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    return entry


def is_bundle(file: Path) -> bool:
    """Tell whether a file means to be a bundle: a zip."""
    try:
        if not file.is_file():  # a pipe would never end
            return False
        with file.open("rb") as opened:
            return opened.read(4) == b"PK\x03\x04"
    except (OSError, ValueError):  # ValueError: a name with a null character
        return False


@dataclass(frozen=True)
class BundledArtifact:
    """Hold one result that is in a bundle."""

    meta: Mapping[str, Any]
    bundle: Bundle
    name: str

    def tensors(self) -> dict[str, Tensor]:
        """Return its tensors, on the CPU."""
        return self.bundle.tensors(self.name)


class Bundle:
    """Read a bundle's entries, each once checked against the manifest.

    Raises:
        CardError: it is no bundle, or holds what a bundle never does: a link, an absolute path, an entry of another
            kind, or one that is far larger than it looks.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self._archive = zipfile.ZipFile(file)
        except (OSError, zipfile.BadZipFile, ValueError) as error:
            raise CardError(f"{file} is no bundle that can be read ({error}); name one of robench bundle.") from None
        self._entries: dict[str, zipfile.ZipInfo] = {}
        self._files: Mapping[str, Any] = {}  # until the list of contents is read
        listed = self._archive.infolist()
        if len(listed) > MOST_ENTRIES:
            raise CardError(f"{file} has {len(listed):,} entries; a bundle has at most {MOST_ENTRIES:,}.")
        for entry in listed:
            self._entries[entry.filename] = _checked(file, entry, entry.filename in self._entries)
        self._files = self._manifest()

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    @cached_property
    def card(self) -> bytes:
        """Return the card as it is in the bundle."""
        return self.read(CARD, MOST_BYTES)

    @property
    def names(self) -> list[str]:
        """Return the names of all entries."""
        return sorted(self._entries)

    def get(self, kind: str, key: str) -> BundledArtifact | None:
        """Return a stored result; None if it is not in the bundle."""
        place = f"artifacts/{kind}/{key}"
        if f"{place}/meta.json" not in self._entries:
            return None
        meta = self._json(f"{place}/meta.json")
        return BundledArtifact(meta, self, f"{place}/data.safetensors")

    def images(self, start: int) -> Tensor | None:
        """Return the clean test images from number ``start`` on, as float32; None if they are not in the bundle."""
        name = f"images/{start}.safetensors"
        if name not in self._entries:
            return None
        found = self.tensors(name)["images"]
        return found if found.is_floating_point() else found.float() / 255

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of an entry, which are data and nothing else."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            return load(self.read(name))
        except (SafetensorError, KeyError, ValueError) as error:
            raise CardError(f"{self.file}: {name} is no safetensors file ({str(error)[:200]}).") from None

    def read(self, name: str, most: int | None = None) -> bytes:
        """Return an entry's content, after holding it to the manifest."""
        entry = self._entries.get(name)
        if entry is None:
            raise CardError(f"{self.file} lacks {name}; it is not what robench bundle wrote.")
        if most is not None and entry.file_size > most:
            raise CardError(f"{self.file}: {name} has {entry.file_size:,} bytes, and may have {most:,}.")
        try:
            with self._archive.open(entry) as opened:
                content = opened.read(entry.file_size + 1)
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            raise CardError(f"{self.file}: {name} cannot be read ({error}); the file is damaged.") from None
        stated = self._files.get(name) if name != MANIFEST else None
        if name != MANIFEST and (
            not isinstance(stated, dict) or stated.get("sha256") != hashlib.sha256(content).hexdigest()
        ):
            raise CardError(f"{self.file}: {name} is not what the bundle says it is; it was changed or damaged.")
        return content

    def _manifest(self) -> Mapping[str, Any]:
        raw = self._json(MANIFEST)
        if raw.get("kind") != "robench bundle" or not isinstance(raw.get("files"), dict):
            raise CardError(f"{self.file} is no bundle of robench; name one that robench bundle wrote.")
        if raw.get("version") != VERSION:
            raise CardError(f"{self.file} is a bundle of version {raw.get('version')!r}; this release reads {VERSION}.")
        strange = sorted({*self._entries} - {MANIFEST, *raw["files"]})
        if strange:
            raise CardError(f"{self.file} holds {strange[0]}, which its list of contents does not name.")
        files: Mapping[str, Any] = raw["files"]
        return files

    def _json(self, name: str) -> dict[str, Any]:
        try:
            raw = parse(self.read(name, 4 * MOST_BYTES))
        except (ValueError, RecursionError) as error:
            raise CardError(f"{self.file}: {name} is no JSON ({str(error)[:200]}).") from None
        if not isinstance(raw, dict):
            raise CardError(f"{self.file}: {name} is not what robench bundle writes.")
        return raw


def _checked(file: Path, entry: zipfile.ZipInfo, twice: bool) -> zipfile.ZipInfo:
    """Return an entry that may be read; CardError says why another may not."""
    name = entry.filename[:80]
    # The system that packed it says in the upper half what kind of file it was.
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        what = "a link" if kind == stat.S_IFLNK else "no plain file"
        raise CardError(f"{file} holds {name!r}, which is {what}; a bundle has plain files only.")
    if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or re.match(r"[A-Za-z]:", name):
        raise CardError(f"{file} holds {name!r}, which leads out of the bundle; nothing of it was read.")
    if not _NAME.fullmatch(entry.filename):
        raise CardError(f"{file} holds {name!r}; a bundle has a card, artifacts and images, as JSON and safetensors.")
    if twice:
        raise CardError(f"{file} holds {name!r} twice.")
    if entry.file_size > SMALL and entry.file_size > MOST_RATIO * max(entry.compress_size, 1):
        raise CardError(
            f"{file} holds {name!r}, {entry.file_size:,} bytes in {entry.compress_size:,}: no evidence is that regular."
        )
    if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CardError(f"{file} holds {name!r} encrypted or packed in a way that bundles are not.")
    return entry
