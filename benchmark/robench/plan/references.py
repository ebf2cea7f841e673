"""User-supplied components without a plugin: what a typed reference means, and which components run code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from robench.plugin.catalog import Catalog

if TYPE_CHECKING:
    from robench.plan.cell import Cell


def resolve_reference(known: Catalog, role: str, reference: str) -> tuple[str, dict[str, str]]:
    """Return a component's name and the parameters that ``reference`` stands for.

    ``folder:photos`` is ``imagefolder`` with ``path=photos``; what no component takes for its own is left as a name.
    """
    if (role, reference) not in known.offers:
        for offer in known.of(role):
            parameters = offer.component.shorthand(reference)
            if parameters is not None:
                return offer.name, dict(parameters)
    return reference, {}


def foreign_code(cells: Iterable[Cell]) -> str:
    """Return what of these cells would run code that their parameters name, as a card shows it; empty if nothing."""
    for cell in cells:
        chosen = (cell.dataset, cell.victim, cell.defense, cell.attack, cell.surrogate, *cell.loads)
        for entry in (part for one in chosen if one is not None for part in one.family):
            if entry.component.runs_code:
                return entry.record().label
    return ""
