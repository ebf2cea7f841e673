"""Where files and folders lie on this machine that cards know by their content only; never part of a card or store."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.contracts.components import Component
from robench.contracts.parameters import Value, parameters_of
from robench.errors import SpecError, StoreError, suggestion
from robench.evidence.card import Card, ComponentRecord, Scalar
from robench.evidence.files import write_whole
from robench.plan.place_labels import is_place, labels_of

if TYPE_CHECKING:
    from robench.plan.cell import SelectedComponent


def remember(chosen: Iterable[SelectedComponent]) -> None:
    """Keep, in the user's cache folder, where these components have their files, so that a card finds them again."""
    for one in chosen:
        for name, entry in parameters_of(type(one.component)).items():
            value = one.component.parameters.get(name)
            if is_place(entry, value):
                for known in (str(one.key["files"]), _named(labels_of(one)[name])):
                    point(one.component.name, known, name, str(value))


def point(component: str, files: str, parameter: str, place: str) -> None:
    """Keep where one parameter of a component with these files points; that it cannot be kept costs a question."""
    with suppress(StoreError):
        write_whole(_note(component, files, parameter), os.fsencode(os.path.abspath(Path(place).expanduser())))


def point_card(card: Card, given: Mapping[str, str]) -> None:
    """Keep where the files of a card's components lie, given as ``dataset.path`` -> place; SpecError if it has none."""
    cell = card.cell
    roles = {"dataset": cell.dataset, "victim": cell.victim, "attack": cell.attack, "defense": cell.defense}
    roles |= {"surrogate": cell.surrogate} if cell.surrogate is not None else {}
    roles |= {"train-dataset": cell.trained_on} if cell.trained_on is not None else {}
    for key, place in given.items():
        role, _, parameter = key.partition(".")
        if role not in roles or parameter not in roles[role].parameters:
            known = [f"{role}.{name}" for role, part in roles.items() for name in part.parameters]
            raise SpecError(f"-p {key}: the card has no such parameter; {suggestion(key, known)}")
        if not os.path.lexists(Path(place).expanduser()):
            raise SpecError(
                f"-p {key}: there is nothing at {place}; name the file or folder that the card was made with."
            )
        for files in (roles[role].files, _named(str(roles[role].parameters[parameter]))):
            point(roles[role].name, files, parameter, place)


def found_again(record: ComponentRecord, kind: type[Component]) -> dict[str, Scalar]:
    """Return a card's parameters with the places of this machine where it has labels, as far as they are known."""
    values: dict[str, Scalar] = dict(record.parameters)
    for name, entry in parameters_of(kind).items():
        value = values.get(name)
        if entry.path and isinstance(value, str) and value:
            values[name] = _place(record.name, record.files, name) or _unknown(
                entry.path == "checked", entry.default, value
            )
    return values


def last_called(component: str, parameter: str, label: str) -> str | None:
    """Return the place that this label was last given for; the content decides whether it is the one that is meant."""
    return _place(component, _named(label), parameter)


def _named(label: str) -> str:
    return f"called {label}"


def put_back(value: Any, places: Mapping[str, str]) -> Any:
    """Return JSON values with places where their texts have the labels that are the keys of ``places``."""
    if isinstance(value, str):
        for label, place in places.items():
            value = re.sub(rf"(?<![\w./~-]){re.escape(label)}(?![\w-])", place.replace("\\", r"\\"), value)
        return value
    if isinstance(value, Mapping):
        return {key: put_back(entry, places) for key, entry in value.items()}
    return [put_back(entry, places) for entry in value] if isinstance(value, list | tuple) else value


def _unknown(checked: bool, default: Value, value: str) -> Value:
    """Return what stands for a place that is not known: data with checksums may lie where it usually does."""
    return default if checked and not os.path.lexists(Path(value).expanduser()) else value


def _place(component: str, files: str, parameter: str) -> str | None:
    try:
        place = os.fsdecode(_note(component, files, parameter).read_bytes())
    except OSError:
        return None
    return place if os.path.lexists(place) else None


def _note(component: str, files: str, parameter: str) -> Path:
    from platformdirs import user_cache_path

    words = hashlib.sha256(f"{component}\0{files}\0{parameter}".encode()).hexdigest()
    return user_cache_path("robench") / "places" / words
