"""Attestations: somebody's statement that a card's evidence was checked, or its cell computed again, bound to the card.

Nobody signs them. One is bound to every statement of the card by a digest, and holds what was found, so that an edit of
either is found; who vouches for it is who put it where it lies, such as a reviewed pull request.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from robench.errors import CardError
from robench.evidence.card import Card, Digest, Environment, FiledRecord, Natural
from robench.evidence.record_file import RecordFile

SCHEMA_FILE = Path(__file__).with_name("attestation.schema.json")
#: The folder beside cards in which attestations lie.
FOLDER = "attestations"

Word = Literal["identical", "repeats within rounding", "does not repeat"]
Level = Literal["reported", "checked", "rerun"]
LEVELS: tuple[Level, ...] = ("reported", "checked", "rerun")


class Attestation(FiledRecord, frozen=True, kw_only=True):
    """State what a check of one card found."""

    kind: Literal["attestation"] = "attestation"
    schema_version: Literal[1] = 1
    card: Annotated[Digest, Meta(description="sha256 of everything that the card states")]
    id: Annotated[Digest, Meta(description="the card's id")]
    file: Annotated[str, Meta(max_length=400, description="the card's canonical file name")]
    how: Annotated[
        Literal["evidence", "rerun"], Meta(description="stored evidence was checked, or the cell computed again")
    ]
    word: Word
    rescored: Annotated[bool, Meta(description="the defended victim was asked again about the stored images")] = False
    missing: Annotated[Natural, Meta(description="findings that were not at hand")] = 0
    clean: Annotated[str, Meta(description="the bits that were found on the clean images")]
    robust: Annotated[str, Meta(description="and on the adversarial ones")]
    by: Annotated[str, Meta(max_length=80, description="who says so, if they say who they are")] = ""
    created: str
    environment: Environment

    @property
    def stem(self) -> str:
        """Return the card's name, what was done, and the start of this statement's own digest."""
        own = hashlib.sha256(msgspec.json.encode(self)).hexdigest()
        return f"{self.file.removesuffix('.json')[:120]}-{self.how}-{own[:8]}"


@dataclass(frozen=True)
class Evidence:
    """Say how far a card was checked, by whoever attests it.

    Attributes:
        level: ``reported``: its figures agree with each other and nothing more is known; ``checked``: stored evidence
            was checked; ``rerun``: the cell was computed again and repeats.
        others: how many computed it again, told apart by name or machine, and found it to repeat.
        against: how many found that it does not.
    """

    level: Level = "reported"
    others: int = 0
    against: int = 0

    @property
    def words(self) -> str:
        """Return it as a row shows it."""
        said = {
            "reported": "reported",
            "checked": "evidence checked",
            "rerun": f"re-run by {self.others} other{'s' * (self.others != 1)}",
        }[self.level]
        return f"{said}, does not repeat for {self.against}" if self.against else said

    def meets(self, level: Level) -> bool:
        """Tell whether it is at least of this level, and nobody found otherwise."""
        enough = LEVELS.index(self.level) >= LEVELS.index(level)
        return enough and (level == "reported" or not self.against)


#: Nobody attests anything.
REPORTED = Evidence()

Vouched = dict[str, Evidence]


def digest_of(card: Card) -> str:
    """Return the sha256 of everything a card states; what it leaves empty does not count, so that fields may come."""
    text = json.dumps(_stated(msgspec.to_builtins(card)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _stated(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stated(inner) for key, inner in value.items() if inner not in ({}, [], (), None, False, "")}
    return [_stated(inner) for inner in value] if isinstance(value, list | tuple) else value


def vouched(cards: Iterable[Card], attestations: Iterable[Attestation]) -> Vouched:
    """Return, by card id, how far each card was checked; an attestation of another content says nothing of it."""
    by_card: dict[str, list[Attestation]] = {}
    for one in attestations:
        by_card.setdefault(one.card, []).append(one)
    return {card.id: _evidence(card, by_card.get(digest_of(card), [])) for card in cards} if by_card else {}


def _evidence(card: Card, found: Iterable[Attestation]) -> Evidence:
    agreed, against, checked = set[str](), set[str](), False
    for one in found:
        if not _plausible(one, card):
            continue
        who = one.by.strip().lower() or f"{one.environment.device} / {one.environment.platform}"
        if one.word == "does not repeat":
            against.add(who)
        elif one.how == "rerun":
            agreed.add(who)
        else:
            checked = True
    level: Level = "rerun" if agreed else "checked" if checked else "reported"
    return Evidence(level, len(agreed), len(against))


def _plausible(one: Attestation, card: Card) -> bool:
    """Tell whether the word follows from the bits that the attestation holds."""
    same = (one.clean, one.robust) == (card.clean.bits, card.robust.bits)
    return one.id == card.id and (same or one.word != "identical") and (same or one.how == "rerun")


def read_attestations(folders: Iterable[Path], warn: Callable[[str], None] = lambda text: None) -> list[Attestation]:
    """Return what is attested in these folders of cards; what is no attestation is told to ``warn``."""
    found = []
    for folder in dict.fromkeys(place if place.is_dir() else place.absolute().parent for place in folders):
        for path in sorted((folder / FOLDER).glob("*.json")):
            if path.is_symlink() or path.name.startswith("."):
                continue
            try:
                found.append(FILE.read(path))
            except CardError as error:
                warn(f"left out: {error}")
    return found


def _no_check(_attestation: Attestation, _where: str) -> None:
    """Take what follows the schema: what it says of a card is weighed beside that card."""


FILE = RecordFile(Attestation, SCHEMA_FILE, 1, "robench attestation", "attestation", "a robench attestation", _no_check)
schema = FILE.schema
