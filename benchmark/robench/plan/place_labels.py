"""Labels of local files and folders: what stands in cards and pages in place of paths, which are nobody's business.

A path says where one machine keeps its data, and often whose machine it is. Cards hold a label instead: the last name
of the path, or what ``--label`` says. Labels enter no id; the content of the files does.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.contracts.parameters import Parameter, Value, parameters_of
from robench.errors import SpecError

if TYPE_CHECKING:
    from robench.plan.cell import SelectedComponent

#: Roles that ``--label`` can name.
ROLES = ("dataset", "victim")

#: A path from the root, or from a drive, down to what lies in its last folder.
_FOLDERS = re.compile(r"(?<![\w.~/\\])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\:'\"]+[/\\])+")


def is_place(declared: Parameter, value: Value) -> bool:
    """Tell whether a parameter's value names a local file or folder, and not, say, an id on a hub."""
    if not declared.path or not isinstance(value, str) or not value:
        return False
    return declared.path == "checked" or value[0] in "/\\~." or os.path.lexists(Path(value).expanduser())


def default_label(value: str) -> str:
    """Return the last name of a path."""
    return os.path.basename(os.path.abspath(Path(value).expanduser())) or "root"


def labels_of(chosen: SelectedComponent) -> dict[str, str]:
    """Return, for each parameter that names a place, what is shown of it; the user's label is the first one's."""
    declared = parameters_of(type(chosen.component))
    places = [name for name, value in chosen.component.parameters.items() if is_place(declared[name], value)]
    found = {name: default_label(str(chosen.component.parameters[name])) for name in places}
    return found | ({places[0]: chosen.label} if places and chosen.label else {})


def read_labels(given: Iterable[str], paths: Mapping[str, bool]) -> dict[str, str]:
    """Return the labels by role; ``paths`` says of each role whether the request gives it by a path.

    Raises:
        SpecError: a label of what is no path, or of nobody knows what.
    """
    found: dict[str, str] = {}
    for text in given:
        role, equals, name = (part.strip() for part in text.partition("="))
        if not equals:
            those = [role for role, path in paths.items() if path]
            if len(those) != 1:
                what = "the dataset nor the victim is" if not those else "both the dataset and the victim are"
                end = "nothing is left to name" if not those else f"write --label {those[0]}={text}"
                raise SpecError(f"--label {text}: {'neither ' if not those else ''}{what} given by a path; {end}.")
            role, name = those[0], text.strip()
        if role not in ROLES:
            raise SpecError(f"--label {text}: {role} has no label; write --label dataset=NAME or --label victim=NAME.")
        if not paths[role]:
            raise SpecError(f"--label {text}: the {role} is not given by one path and has a name; leave it out.")
        if not name or role in found:
            raise SpecError(f"--label {text}: give the {role} one name.")
        if len(name) > 100 or any(letter in name for letter in "/\\[],=") or not name.isprintable():
            raise SpecError(f"--label {text[:120]}: a label is a name of up to 100 letters without / \\ [ ] , and =.")
        found[role] = name
    return found


def labelled(
    judged: list[tuple[SelectedComponent, SelectedComponent]], given: Sequence[str]
) -> list[tuple[SelectedComponent, SelectedComponent]]:
    """Return datasets and victims, in pairs, under the labels that they are given."""
    if not given:
        return judged
    places = [{json.dumps(one.key) for one in column if labels_of(one)} for column in zip(*judged, strict=True)]
    named = read_labels(given, {role: len(found) == 1 for role, found in zip(ROLES, places, strict=True)})
    return [
        (_called(dataset, named.get("dataset", "")), _called(victim, named.get("victim", "")))
        for dataset, victim in judged
    ]


def _called(chosen: SelectedComponent, label: str) -> SelectedComponent:
    return replace(chosen, label=label) if label and labels_of(chosen) else chosen


class Places:
    """Know the places that components were given, and what is shown in their stead."""

    def __init__(self, chosen: Iterable[SelectedComponent]) -> None:
        shown: dict[str, str] = {}
        for one in chosen:
            for name, label in labels_of(one).items():
                typed = str(one.component.parameters[name])
                whole = Path(typed).expanduser()
                shown |= dict.fromkeys((typed, str(whole), os.path.abspath(whole), os.path.realpath(whole)), label)
        self._shown = {text: label for text, label in shown.items() if text != label}
        self._typed = _any_of(self._shown)
        # A folder's bare name may be any word of a sentence.
        self._paths = _any_of(
            text for text in self._shown if any(letter in text for letter in "/\\~") and len(text) > 2
        )

    def hide(self, text: str) -> str:
        """Return a sentence with labels in place of these places, and any other path without its folders."""
        return without_folders(self._paths.sub(lambda found: self._shown[found[0]], text))

    def recipe(self, stated: Mapping[str, Value], chosen: SelectedComponent) -> dict[str, Value]:
        """Return the recipe of a component as cards show it."""
        shown = {name: self.hide(value) if isinstance(value, str) else value for name, value in stated.items()}
        labels = labels_of(chosen)
        return {name: labels.get(name, value) for name, value in shown.items()}

    def request(self, value: Any) -> Any:
        """Return the JSON values of a request with labels in place of these places, however they were typed."""
        if isinstance(value, str):
            return without_folders(self._typed.sub(lambda found: self._shown[found[0]], value))
        if isinstance(value, Mapping):
            return {key: self.request(entry) for key, entry in value.items()}
        return [self.request(entry) for entry in value] if isinstance(value, list | tuple) else value


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Return what finds any of these texts between other words; one without a letter only as a whole reference."""
    listed = sorted(texts, key=len, reverse=True)
    words = [re.escape(text) for text in listed if any(letter.isalnum() for letter in text)]
    dots = [re.escape(text) for text in listed if not any(letter.isalnum() for letter in text)]
    found = [rf"(?<![\w./~-])(?:{'|'.join(words)})(?![\w-])"] * bool(words)
    found += [rf"(?:(?<=:)|^)(?:{'|'.join(dots)})(?=$|[:\[])"] * bool(dots)
    return re.compile("|".join(found) or r"(?!)")


def without_folders(text: str) -> str:
    """Return ``text`` with every path from the root on cut to its last name."""
    return _FOLDERS.sub("", text)
