"""Checks of what every component declares: its name, its parameters, its place in the fingerprint."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import re
from pathlib import Path

from robench.contracts.parameters import convert, parameters_of
from robench.errors import RobenchError, require
from robench.evidence.fingerprint import of_component
from robench.testing.component_under_test import Checks, NotTried, Subject


def documented(subject: Subject) -> None:
    """A name, a docstring, and a sentence on every parameter."""
    kind = type(subject.component)
    require(
        isinstance(kind.name, str) and bool(re.fullmatch(r"[^\s,.=\[\]]+", kind.name)),
        f"{kind.__qualname__} is named {kind.name!r}; users type it on a command line, so give it a name without "
        "spaces, commas, dots, = and brackets.",
    )
    text = kind.__doc__ or ""
    require(
        bool(text.strip()) and not text.startswith(f"{kind.__name__}("),
        f"{kind.__qualname__} has no docstring; its first line is what 'robench list' shows.",
    )
    for entry in parameters_of(kind).values():
        require(
            isinstance(entry.help, str) and bool(entry.help.strip()),
            f"{subject.name}.{entry.name} has no help; say in a few words what it means and in which unit.",
        )


def defaults(subject: Subject) -> None:
    """Every default is of its declared type, and what is typed on a command line means the same."""
    for entry in parameters_of(type(subject.component)).values():
        text = "none" if entry.default is None else str(entry.default)
        try:
            same = convert(subject.name, entry, text) == entry.default
        except RobenchError:
            same = False
        require(
            same,
            f"{subject.name}.{entry.name} has the default {entry.default!r}, which typed on a command line ({text}) "
            f"is not read as the same {entry.type_name}; choose another default or type.",
        )


def frozen(subject: Subject) -> None:
    """A component cannot be changed, and is what its parameters say."""
    component = copy.copy(subject.component)
    for name in [*component.parameters, "robench_kit"]:
        try:
            setattr(component, name, None)
        except dataclasses.FrozenInstanceError:
            continue
        require(
            False,
            f"{subject.name} lets '{name}' be set; a component's parameters are in its fingerprint and must not "
            "change, so do not override __setattr__.",
        )
    require(
        type(subject.component)(**subject.component.parameters) == subject.component,
        f"{subject.name} built from its own parameters is another component; leave __init__ and __eq__ as they are.",
    )


def fingerprinted(subject: Subject) -> None:
    """The same parameters have the same fingerprint, and local files are named in it."""
    try:
        files = subject.component.files()
    except RobenchError as error:  # a folder that the user has to name
        raise NotTried(str(error)) from error
    require(
        isinstance(files, tuple) and all(isinstance(path, Path) for path in files),
        f"{subject.name}.files must return a tuple of pathlib.Path, not {files!r}.",
    )
    again = type(subject.component)(**subject.component.parameters)
    first, second = (json.dumps(of_component(component), sort_keys=True) for component in (subject.component, again))
    require(
        first == second,
        f"{subject.name} has another fingerprint the second time; files must name the same files each time.",
    )
    require(
        isinstance(subject.component.version, int) and bool(inspect.getmodule(type(subject.component))),
        f"{subject.name}.version must be a whole number that you raise when results change.",
    )


CHECKS: Checks = {
    "name and help": documented,
    "defaults": defaults,
    "frozen": frozen,
    "fingerprint": fingerprinted,
}
