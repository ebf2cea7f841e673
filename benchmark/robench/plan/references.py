"""References: what a typed ``name[key=value]`` or ``folder:photos`` means, and which components run code."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from robench.contracts.components import Component
from robench.errors import SpecError
from robench.plan.request_values import EMPTY, UNSET
from robench.plugin.catalog import Catalog, Offer

if TYPE_CHECKING:
    from robench.plan.cell import Cell

#: The commas between parameters: no name begins with a digit, so ``classes=0,1,2`` is one.
_LIST = re.compile(r",(?!\s*[0-9])")

_REFERENCE = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<inside>.*)\])?", re.DOTALL)


def split_reference(text: str) -> tuple[str, dict[str, str]]:
    """Read ``name`` or ``name[key=value,...]``; SpecError if it is neither."""
    match = _REFERENCE.fullmatch(text.strip())
    if match is None:
        raise SpecError(f"'{text}' is no component; write its name, or name[parameter=value,...].")
    parameters: dict[str, str] = {}
    inside = match["inside"]
    for pair in _LIST.split(inside) if inside is not None else ():
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not pair.strip():
            raise SpecError(f"'{text}' has an empty place in its brackets ({UNSET}); write name[parameter=value,...].")
        if not equals:
            raise SpecError(f"'{pair}' in '{text}' is no parameter; write parameter=value.")
        if not value:
            raise SpecError(f"'{pair}' in '{text}' has no value ({UNSET}); give one, or leave the parameter out.")
        if key in parameters:
            raise SpecError(f"'{text}' gives '{key}' twice, {parameters[key]} and {value}; give it once.")
        parameters[key] = "" if value in EMPTY else value
    return match["name"].strip(), parameters


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


def build_reference(known: Catalog, role: str, reference: str) -> Component:
    """Return the component that a whole reference, such as ``zoo:NAME[key=value]``, stands for."""
    return find_reference(known, role, reference)[1]


def find_reference(known: Catalog, role: str, reference: str) -> tuple[Offer, Component]:
    """Return what offers the component that a whole reference stands for, and the component."""
    text, inside = split_reference(reference)
    name, implied = resolve_reference(known, role, text)
    offer = known.find(role, name)
    return offer, offer.build({**implied, **inside})


def foreign_code(cells: Iterable[Cell]) -> str:
    """Return what of these cells would run code that their parameters name, as a card shows it; empty if nothing."""
    for cell in cells:
        for entry in cell.components:
            if entry.component.runs_code:
                return entry.record().label
    return ""
