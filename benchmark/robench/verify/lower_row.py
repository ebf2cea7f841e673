"""Lower a published row: put images that anyone made to the very model of a card, and count what falls that stood."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from msgspec.structs import replace as with_fields

from robench.api import run
from robench.contracts.search_precision import EXACT
from robench.contracts.task import Progress
from robench.errors import CardError
from robench.evidence.card import Card
from robench.evidence.row_cells import RowCell, lowered
from robench.plan.references import foreign_code
from robench.plan.spec import plan
from robench.plugin.catalog import catalog
from robench.verify.recompute import request_of


@dataclass(frozen=True)
class Lowered:
    """Hold the card of the new images, and what they do to the row: images right before and with them.

    Attributes:
        n: images of the row's test set.
        others: cards of the row that stood before.
        fell: images that stood under every attack of the row and fall to these.
    """

    card: Card
    n: int
    others: int
    stood: int
    fell: int


def lower(
    card: Card,
    file: Path,
    beside: Iterable[Card],
    credit: str,
    *,
    store: Path,
    device: str,
    progress: Progress,
    trust: bool = False,
) -> Lowered:
    """Return what the images of ``file`` do to the row of ``card``, which has the cards ``beside`` it.

    Raises:
        CardError: the model here is not the card's, or the card names code to run and ``trust`` is not given.
        DataError: the images do not fit the card's test images and threat model.
    """
    row = [card, *(other for other in beside if other.id != card.id and same_row(card, other))]
    request = _request(card, file)
    code = "" if trust else foreign_code(plan(request, device, catalog()))
    if code:
        raise CardError(f"The card names {code[:200]!r}, which runs code of a file; read it, and add --trust-code.")
    made = run(request, store=store, device=device, gate="quick", progress=progress)[0]
    if not same_row(card, made):
        raise CardError(
            f"The model here is not the card's: its weights are {made.model.defended[:8]}, the card's "
            f"{card.model.defended[:8]}, on test images {made.data.test[:8]} and {card.data.test[:8]}. Bring the store "
            "that its fit lies in (--store)."
        )
    others = [RowCell(other) for other in row if other.id != made.id]
    stood, fell = lowered(RowCell(made), others)
    return Lowered(with_fields(made, credit=credit), made.cell.n, len(others), stood, fell)


def same_row(card: Card, other: Card) -> bool:
    """Tell whether two cards are of one defended victim on the same images, under one threat model and seed."""
    return RowCell(card).row == RowCell(other).row


def _request(card: Card, file: Path) -> Any:
    """Return the request for the card's cell, with these images for an attack and no other cell beside it."""
    exact = request_of(card)
    roles = {"attack", "surrogate", card.cell.attack.name}
    kept = {key: value for key, value in exact.parameters.items() if key.partition(".")[0] not in roles}
    return replace(
        exact, attack=("images",), surrogate=(), parameters=kept | {"images.path": str(file)}, baseline=False,
        precision=EXACT,
    )  # fmt: skip
