"""What lies in a store: each object with its size and the time of its last use, and which of them cards refer to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from robench.errors import CardError
from robench.evidence import card_file, training_card_file
from robench.evidence.adversarial_set import chunk_keys
from robench.evidence.artifact_folder import META, read_checked
from robench.evidence.card import Card, CertificateRecord
from robench.evidence.files import read_bounded
from robench.evidence.gallery import gallery_key
from robench.evidence.stage_ids import CURRENT
from robench.evidence.training_card import TrainingCard

#: Kinds of what lies under ``tmp/``: work that a killed run may take up again, and what was found damaged.
UNFINISHED, DAMAGED = "unfinished", "damaged"
#: Kind of what the gate's probes found, which verify holds a card's figures to.
PROBES = "probes"


@dataclass(frozen=True)
class StoredObject:
    """Name one object: an artifact, unfinished work, or what was set aside as damaged; times are of the epoch."""

    kind: str
    key: str
    path: Path
    size: int
    used: float


def stored_objects(root: Path) -> list[StoredObject]:
    """Return everything in a store, artifacts first; what another process removes meanwhile is passed over."""
    return [*_found(root)]


def _found(root: Path) -> Iterator[StoredObject]:
    for path in sorted(root.glob("*/??/*")):
        if path.parts[-3] not in ("tmp", "locks"):
            with suppress(OSError):
                meta = path / META if (path / META).exists() else path
                yield StoredObject(path.parts[-3], path.name, path, _size(path), meta.stat().st_mtime)
    for kind, pattern in ((UNFINISHED, "*.partial"), (DAMAGED, "damaged-*")):
        for path in sorted((root / "tmp").glob(pattern)):
            with suppress(OSError):
                yield StoredObject(kind, path.name, path, _size(path), path.stat().st_mtime)


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


class References:
    """Know which objects cards refer to.

    A card refers to the answers and the adversarial images that it names, to the fits with its weights and the
    signatures of the images these were trained on, to its pictures, and to its own copy in the store. What its checks
    rest on, the probes, is named by whoever knows their keys.
    """

    def __init__(self, cards: Iterable[Card | TrainingCard], named: Iterable[tuple[str, str]] = ()) -> None:
        """Take the cards, and kinds and keys of what else they refer to."""
        self._named = {*named}
        self._ids, self._weights = set[str](), set[str]()
        for card in cards:
            self._ids.add(card.id)
            if isinstance(card, TrainingCard):
                self._weights.add(card.weights)
                continue
            self._weights |= {card.model.victim, card.model.defended}
            self._named |= {("outcomes", card.clean.artifact), ("outcomes", card.robust.artifact)}
            self._named |= {("adversarial", key) for key in chunk_keys(card.adversarial.artifact, card.cell.n)}
            self._named |= {("certificate", key) for proved in card.certificates for key in _chunks(card, proved)}
            self._named.add(("gallery", gallery_key(card.id)))
        self._fits = set[str]()

    def among(self, objects: Iterable[StoredObject]) -> set[Path]:
        """Return the places of those objects that the cards refer to; records are read, tensors are not."""
        listed = list(objects)
        fits = {each.key for each in listed if each.kind == "fit" and self._has_weights(each)}
        tests: dict[str, Callable[[StoredObject], bool]] = {
            "fit": lambda each: each.key in fits,
            "prints": lambda each: each.key in fits,
            "card": self._is_copy,
            "training": self._is_copy,
        }
        by_name = {each.path for each in listed if (each.kind, each.key) in self._named}
        return by_name | {each.path for each in listed if each.kind in tests and tests[each.kind](each)}

    def _has_weights(self, fit: StoredObject) -> bool:
        with suppress(OSError, ValueError):
            return read_checked(fit.path, tensors=False).get("defended") in self._weights
        return False

    def _is_copy(self, card: StoredObject) -> bool:
        with suppress(OSError, ValueError, TypeError, RecursionError):
            copy = json.loads(str(read_checked(card.path, tensors=False).get("card")))
            return isinstance(copy, dict) and copy.get("id") in self._ids
        return False


def _chunks(card: Card, proved: CertificateRecord) -> list[str]:
    return CURRENT.certificate_chunks(proved.artifact, card.cell.n)


def cards_below(folders: Iterable[Path], warn: Callable[[str], None]) -> Iterator[Card | TrainingCard]:
    """Yield the cards in folders, at any depth; ``warn`` is told of a file among cards that cannot be read as one."""
    for folder in folders:
        for path in sorted(folder.rglob("*.json")):
            try:
                text = read_bounded(path)
                training = training_card_file.is_training(text)
                yield training_card_file.decode(text, str(path)) if training else card_file.decode(text, str(path))
            except CardError as error:
                if path.parent.name in ("cards", "trainings"):
                    warn(f"what this file refers to is not protected: {error}")
