"""The cards in the store, so that what was judged once is answered at once."""

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
    """Return the group's cards if the store has every one, judged at this level and with the same cells."""
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


def store_cards(cards: Sequence[Card], store: Store, level: Level) -> None:
    """Store the cards of one group."""
    ids = [card.id for card in cards]
    for card in cards:
        store.put(CARDS, _card_key(card.id, ids, level), FILE.meta(card))


def _card_key(cell: str, group: Sequence[str], level: Level) -> str:
    return fingerprint("record", cell=cell, judge=fingerprint("judge", beside=sorted(group), level=asdict(level)))
