"""What a plan needs that is not there yet, asked of its components; nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterable

from robench.contracts.components import Component
from robench.errors import attributed_to
from robench.plan.cell import Cell, SelectedComponent


def missing(cells: Iterable[Cell]) -> list[str]:
    """Return what loading the components of these cells would download, each once, as they say it."""
    chosen: dict[SelectedComponent, None] = {}
    for cell in cells:
        surrogates = [cell.surrogate] if cell.surrogate is not None else []
        for one in (cell.dataset, cell.home.dataset, cell.victim, *surrogates, *cell.loads, *cell.certificates):
            chosen |= dict.fromkeys((one, *one.members))
    return list(dict.fromkeys(sentence for one in chosen for sentence in of(one.component)))


def of(component: Component) -> tuple[str, ...]:
    """Return what a component says it lacks."""
    with attributed_to(f"{component.name}.missing()"):
        return tuple(component.missing())
