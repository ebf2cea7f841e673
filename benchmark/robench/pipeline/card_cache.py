"""The cards in the store, so that what was judged once is answered at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from msgspec.structs import replace

from robench.evidence.card import Card
from robench.evidence.card_file import FILE
from robench.evidence.fingerprint import fingerprint
from robench.evidence.gallery import KIND as GALLERY
from robench.evidence.gallery import gallery_key
from robench.evidence.store import Store
from robench.gate.level import Level
from robench.plan.cell import Cell
from robench.plan.place_labels import labels_of
from robench.plan.protocol_facts import protocol_of

_LOG = logging.getLogger(__name__)

CARDS = "card"


def cached(
    group: Sequence[Cell], store: Store, level: Level, request: Mapping[str, Any] | None = None
) -> list[Card] | None:
    """Return the group's cards if the store has every one, judged at this level and with the same cells.

    Labels and protocol are those of this request, if it is given, and not of the one that the cards were made for.
    """
    cards = []
    for cell in group:
        card = FILE.stored(store.get(CARDS, _key_of(cell, group, level)))
        if card is None:
            return None
        cards.append(_labelled(card, cell, request) if request is not None else card)
    for card in cards:
        _LOG.info("card in the store: %s", card.file_name)
    return cards


def _labelled(card: Card, cell: Cell, request: Mapping[str, Any]) -> Card:
    """Return the card with this request's labels of files and folders, and its protocol; they enter no id."""
    roles = {"dataset": cell.dataset, "victim": cell.victim, "attack": cell.attack, "defense": cell.defense}
    if cell.train is not None and card.cell.trained_on is not None:
        roles["trained_on"] = cell.train
    renamed: dict[str, Any] = {}
    if (protocol := protocol_of(request)) != card.cell.protocol:
        renamed["protocol"] = protocol
    for role, chosen in roles.items():
        record, labels = getattr(card.cell, role), labels_of(chosen)
        if any(record.parameters.get(name) != label for name, label in labels.items()):
            changed = {name: labels.get(name, value) for name, value in record.changed.items()}
            renamed[role] = replace(record, parameters={**record.parameters, **labels}, changed=changed)
    return replace(card, cell=replace(card.cell, **renamed, given=dict(request))) if renamed else card


def illustrated(group: Sequence[Cell], store: Store) -> bool:
    """Tell whether the store has the pictures of every cell."""
    return all(store.get(GALLERY, gallery_key(cell.score_id)) for cell in group)


def store_cards(cards: Sequence[Card], store: Store, level: Level) -> None:
    """Store the cards of one group."""
    ids = [card.id for card in cards]
    for card in cards:
        proofs = [record.artifact for record in card.certificates]
        store.put(CARDS, _card_key(card.id, ids, level, proofs), FILE.meta(card))


def _key_of(cell: Cell, group: Sequence[Cell], level: Level) -> str:
    proofs = [cell.certificate_id(chosen) for chosen in cell.certificates]
    return _card_key(cell.score_id, [other.score_id for other in group], level, proofs)


def _card_key(cell: str, group: Sequence[str], level: Level, proofs: Sequence[str]) -> str:
    certified = {"certificates": list(proofs)} if proofs else {}
    judged = fingerprint("judge", beside=sorted(group), level=asdict(level), **certified)
    return fingerprint("record", cell=cell, judge=judged)
