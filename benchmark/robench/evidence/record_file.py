"""Cards of any kind as files: validated against their JSON Schema when written and when read; nothing is executed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from robench.errors import CardError
from robench.evidence.card import FiledRecord
from robench.evidence.files import fault, parse, read_bounded, write_whole

if TYPE_CHECKING:
    from robench.evidence.artifact_folder import Artifact

T = TypeVar("T", bound=FiledRecord)


@dataclass(frozen=True)
class RecordFile(Generic[T]):
    """Write and read one kind of card.

    Attributes:
        kind: its class, of which the schema is generated.
        schema_file: where the schema is kept.
        version: the schema's version.
        title: the schema's own.
        name: what the schema is called in an error, such as ``card``.
        noun: what the file should be, such as ``a robench card``.
        check: raises CardError, naming the place it is given, for a card that contradicts itself.
        refuse: raises CardError for JSON values that mean to be something else.
    """

    kind: type[T]
    schema_file: Path
    version: int
    title: str
    name: str
    noun: str
    check: Callable[[T, str], None]
    refuse: Callable[[Any, str], None] = lambda raw, where: None

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema, generated from the classes."""
        generated = msgspec.json.schema(self.kind)
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": self.title, **generated}

    def encode(self, card: T) -> bytes:
        """Return the card as indented JSON, keys in schema order, after validating it."""
        compact = msgspec.json.encode(card)
        self._validate(json.loads(compact), "the new card")
        return msgspec.json.format(compact, indent=1) + b"\n"

    def decode(self, text: bytes, where: str) -> T:
        """Return the card in ``text``; raise CardError naming ``where`` if it is none. Nothing in it is executed."""
        try:
            card = self._converted(parse(text), where)
        except (ValueError, RecursionError, msgspec.ValidationError) as error:
            raise CardError(f"{where} is not {self.noun}: {str(error)[:300]}.") from None
        self.check(card, where)
        return card

    def read(self, path: Path) -> T:
        """Return the card stored at ``path``."""
        return self.decode(read_bounded(path), str(path))

    def write(self, card: T, folder: Path) -> Path:
        """Write the card under its canonical name, atomically, unless the same bytes are there; return its path."""
        path = folder / card.file_name
        write_whole(path, self.encode(card))
        return path

    def meta(self, card: T) -> dict[str, str]:
        """Return the card as the metadata of an artifact, which :meth:`stored` reads."""
        return {"card": self.encode(card).decode()}

    def stored(self, artifact: Artifact | None) -> T | None:
        """Return the card of an artifact; None if there is none, or another version of the schema wrote it."""
        if artifact is None:
            return None
        try:
            return self.decode(str(artifact.meta["card"]).encode(), str(artifact.path))
        except CardError:
            return None

    def _converted(self, raw: Any, where: str) -> T:
        """Return the card of JSON values; the classes check all that the schema does, faster; the schema says where."""
        try:
            return msgspec.convert(raw, self.kind)
        except msgspec.ValidationError:
            self._validate(raw, where)
            raise

    def _validate(self, raw: Any, where: str) -> None:
        self.refuse(raw, where)
        stated = raw.get("schema_version") if isinstance(raw, dict) else None
        if isinstance(stated, int) and stated > self.version:
            raise CardError(
                f"{where} is of {self.name} schema {stated}, which a newer robench wrote; this one reads up to "
                f"{self.version}. Update it: pip install -U robench."
            )
        problem = fault(raw, self.schema_file)
        if problem:
            raise CardError(f"{where} does not follow {self.name} schema {self.version}: {problem}.")
