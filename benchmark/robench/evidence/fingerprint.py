"""Fingerprints: what a result depends on, hashed, without importing torch or loading anything.

Fingerprint of a stage = hash of its component (name, version, parameters, local files, and of a plugin its source), of
its inputs' fingerprints, and of the stage's own version. Nothing that was computed enters, no time and no place: the
same request on the same files has the same fingerprint on every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robench.contracts.components import Component
from robench.contracts.parameters import Parameter, Value, parameters_of
from robench.errors import DataError, attributed_to
from robench.evidence.code_digest import of_class
from robench.evidence.file_digest import of_files

#: Raise a stage's number when robench itself begins to compute something else there.
STAGES = {
    "load": 1, "train": 2, "fit": 5, "craft": 3, "score": 3, "certify": 2, "illustrate": 2, "probe": 7, "judge": 9,
    "record": 3,
}  # fmt: skip

#: Images per stored adversarial artifact: what a kill can cost, and the most that is held at once.
CHUNK = 256

#: Images per stored chunk of a certificate: bounds take seconds an image where layers are wide.
CERTIFIED_CHUNK = 64


def fingerprint(stage: str, **inputs: Any) -> str:
    """Return the sha256 of a stage's version and its inputs (anything JSON can hold)."""
    return hashed(stage, STAGES[stage], inputs)


def hashed(stage: str, version: int, inputs: Mapping[str, Any]) -> str:
    """Return the fingerprint that a stage of this version gives."""
    text = json.dumps({"stage": stage, "version": version, **inputs}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def same_json(one: Any, other: Any) -> bool:
    """Tell whether two values are the same text in a fingerprint: 1, 1.0 and true are not."""
    return json.dumps(one) == json.dumps(other)


def of_component(component: Component) -> dict[str, Any]:
    """Return what a component's result depends on, as JSON values."""
    with attributed_to(f"listing the files of {component.name}", DataError):
        files = component.files()
    declared = parameters_of(type(component))
    return {
        "name": component.name,
        "version": component.version,
        "parameters": {
            name: _without_place(value, declared[name], files)
            for name, value in component.parameters.items()
            if not (declared[name].later and value == declared[name].default)
        },
        "code": of_class(type(component)),
        "files": of_files(files),
    }


def _without_place(value: Value, declared: Parameter, files: Sequence[Path]) -> Value | list[str]:
    """Return a parameter's value; of one that names a place, whether it does: what lies there is in ``files``."""
    if declared.path == "checked":
        return declared.default
    if not declared.path or not isinstance(value, str) or not value:
        return value
    place = Path(value).expanduser().absolute()
    inside = any(place in (file.absolute(), *file.absolute().parents) for file in files)
    return ["local"] if inside and place.exists() else value
