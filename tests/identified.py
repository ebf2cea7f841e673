"""Cards that state another cell than the one that was run, with the ids that such a cell has."""

from __future__ import annotations

from typing import Any

import msgspec

from robench.evidence.card import Card
from robench.evidence.card_identity import CardIds


def identify(raw: dict[str, Any]) -> None:
    """Give a card's JSON the ids that what it states has, as another installation would."""
    ids = CardIds(msgspec.convert(raw, Card))
    raw["id"] = raw["robust"]["artifact"] = ids.score
    raw["clean"]["artifact"], raw["adversarial"]["artifact"] = ids.clean, ids.craft
