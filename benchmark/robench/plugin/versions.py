"""Versions of the plugin API: the one a plugin was written for, and what has been replaced since.

A plugin states its API as a plain number at the top of its module, ``ROBENCH_API = 1``. It is read from the source
before the module is imported, because what was written for another API may not even import.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from robench.errors import PluginError

#: The API of this robench: hooks, base classes and the names of ``from robench import ...``. It rises when a plugin
#: that kept to the documented API would have to be changed.
API_VERSION = 1

#: The oldest API whose plugins still work.
OLDEST_API = 1

#: API -> what it replaced and by what, one sentence; told to whoever runs a plugin of an older API.
CHANGES: dict[int, str] = {}

STATEMENT = "ROBENCH_API"


def stated_api(module: str) -> int:
    """Return the API that a module's source states; 1 if it states none, which was the first.

    Raises:
        PluginError: the statement is no plain whole number.
    """
    source = _source(module)
    if source is None:
        return 1
    for statement in ast.parse(source.read_bytes(), str(source)).body:
        if isinstance(statement, ast.Assign) and any(map(_is_statement, statement.targets)):
            return _number(statement.value, source)
        if isinstance(statement, ast.AnnAssign) and statement.value is not None and _is_statement(statement.target):
            return _number(statement.value, source)
    return 1


def judge_api(
    api: int,
    label: str,
    current: int | None = None,
    oldest: int | None = None,
    changes: Mapping[int, str] | None = None,
) -> str:
    """Return what to tell about a plugin of an older API, or nothing; PluginError if it cannot be used.

    Args:
        api: what the plugin states.
        label: the plugin's distribution and version.
        current: the API of this installation; None is this robench's, like the two that follow.
        oldest: the oldest API that still works.
        changes: API -> what it replaced.
    """
    current = API_VERSION if current is None else current
    oldest = OLDEST_API if oldest is None else oldest
    changes = CHANGES if changes is None else changes
    if api > current:
        raise PluginError(
            f"{label} was written for robench API {api}, and this robench has API {current}; upgrade robench, or "
            f"install an older {label.partition(' ')[0]}."
        )
    if api < oldest:
        raise PluginError(
            f"{label} was written for robench API {api}, and this robench works with {_range(oldest, current)}; "
            f"upgrade {label.partition(' ')[0]}, or install an older robench."
        )
    if api == current:
        return ""
    since = " ".join(f"API {number}: {changes[number]}" for number in sorted(changes) if api < number <= current)
    return (
        f"written for robench API {api}; it works, but this robench has API {current}. {since} "
        f"Then state {STATEMENT} = {current}."
    )


def _range(oldest: int, current: int) -> str:
    return f"API {current}" if oldest == current else f"APIs {oldest} to {current}"


def _source(module: str) -> Path | None:
    """Return the Python file of a module, having imported at most the packages it lies in."""
    spec = importlib.util.find_spec(module)
    origin = Path(spec.origin) if spec is not None and spec.origin else None
    return origin if origin is not None and origin.suffix == ".py" and origin.is_file() else None


def _is_statement(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and target.id == STATEMENT


def _number(value: ast.expr, source: Path) -> int:
    if isinstance(value, ast.Constant) and type(value.value) is int and value.value >= 1:
        return value.value
    raise PluginError(
        f"{STATEMENT} in {source.name} is {ast.unparse(value)}; write the API the plugin was written for as a plain "
        f"number, {STATEMENT} = {API_VERSION}."
    )
