"""The cards that the store keeps, so that what was judged once is answered at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from robench.evidence.card import Card
from robench.evidence.card_file import FILE
from robench.evidence.fingerprint import fingerprint
from robench.evidence.gallery import KIND as GALLERY
from robench.evidence.gallery import gallery_key
from robench.evidence.store import Store
from robench.gate.level import Level
from robench.plan.cell import Cell

CARDS = "card"


def cached(group: Sequence[Cell], store: Store, level: Level) -> list[Card] | None:
    """Return the group's cards if the store has every one, judged as hard and beside the same cells."""
    cards = []
    for cell in group:
        card = FILE.stored(store.get(CARDS, _card_key(cell.score_id, [other.score_id for other in group], level)))
        if card is None:
            return None
        cards.append(card)
    return cards


def illustrated(group: Sequence[Cell], store: Store) -> bool:
    """Tell whether the store has the pictures of every cell."""
    return all(store.get(GALLERY, gallery_key(cell.score_id)) for cell in group)


def keep(cards: Sequence[Card], store: Store, level: Level) -> None:
    """Store the cards of one group."""
    beside = [card.id for card in cards]
    for card in cards:
        store.put(CARDS, _card_key(card.id, beside, level), FILE.meta(card))


def _card_key(cell: str, beside: Sequence[str], level: Level) -> str:
    return fingerprint("record", cell=cell, judge=fingerprint("judge", beside=sorted(beside), level=asdict(level)))
