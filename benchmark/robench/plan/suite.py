"""Suites: named experiments as TOML files that say the same as a command line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robench.errors import SpecError, suggestion
from robench.evidence.files import read_bounded
from robench.plan.published_figures import Published, read_published
from robench.plan.published_ledger import of_source
from robench.plan.spec import Spec

#: The largest suite of this repository has five kilobytes.
MOST_BYTES = 1_000_000

#: What is written before the name of a suite that comes along: ``suite:digits``.
PREFIX = "suite:"

#: What is written before the name of a protocol: ``protocol:tecoa-16``.
PROTOCOL = "protocol:"

#: What to name in place of a file that is no suite.
WAY_OUT = "a TOML file, or suite:NAME (robench suites lists them)"

#: Where the suites lie: within the package where it was installed from a wheel, beside it in a clone.
FOLDERS = (Path(__file__).parents[1] / "suites", Path(__file__).parents[3] / "suites")

#: Keys of a [[run]] table (or of the top level, as defaults of every run) -> whether a list is taken, and of what.
_KEYS: dict[str, tuple[bool, type | tuple[type, ...], str]] = {
    "dataset": (True, str, "text"),
    "train_dataset": (False, str, "text"),
    "victim": (True, str, "text"),
    "defense": (True, str, "text"),
    "attack": (True, str, "text"),
    "surrogate": (True, str, "text"),
    "certificate": (True, str, "text"),
    "eps": (True, (str, int, float), "a number"),
    "norm": (False, str, "text"),
    "precision": (False, str, "text"),
    "seed": (True, int, "a whole number"),
    "n": (False, int, "a whole number"),
    "baseline": (False, bool, "true or false"),
    "label": (True, str, "text"),
    "parameters": (False, dict, "a table"),
}


@dataclass(frozen=True)
class Suite:
    """Hold a suite's title, what it reproduces, its requests, and where it differs from what it is named after."""

    title: str
    description: str
    runs: tuple[Spec, ...]
    published: tuple[Published, ...] = ()
    differs: tuple[str, ...] = ()


def shipped(inside: str = "") -> dict[str, Path]:
    """Return the suites that come along, by name; those of a folder ``inside``, if it is named."""
    folder = next((folder for folder in FOLDERS if folder.is_dir()), None)
    return {path.stem: path for path in sorted((folder / inside).glob("*.toml"))} if folder is not None else {}


def protocols() -> dict[str, Path]:
    """Return the protocols that come along, by name: suites that fix data, prompts, attack space and attack."""
    return shipped("protocols")


def suite_file(named: Path | str) -> Path:
    """Return the file of a suite that is named by its path, or by ``suite:`` and its name if it comes along."""
    text = str(named)
    kinds = ((PROTOCOL, protocols, "There is no protocol '{}'"), (PREFIX, shipped, "No suite '{}' comes along"))
    for prefix, along, absent in kinds:
        if text.startswith(prefix):
            name, known = text.removeprefix(prefix), along()
            if name not in known:
                raise SpecError(f"{absent.format(name)}; {suggestion(name, known)}")
            return known[name]
    return Path(named)


def read_suite(path: Path) -> Suite:
    """Read a suite file; SpecError says which key of it cannot be used and what could be meant.

    The top level holds ``title``, ``description``, ``differs`` (sentences on where a suite that is named after
    a report does otherwise) and defaults for every run; each ``[[run]]`` table holds what
    differs. A file without ``[[run]]`` is one run. ``published`` names files of the ledger of published figures
    (``["report-001"]``); a suite's own are ``[[published]]`` tables (:mod:`robench.plan.published_figures`), of which
    the top level's ``[parameters]`` are stated too.
    """
    try:
        text = read_bounded(path, "suite", WAY_OUT, MOST_BYTES, SpecError)
        content = tomllib.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # also what tomllib lets through: a number of 5000 digits
        hint = " (a path with a backslash stands between single quotes)" if "escape" in str(error) else ""
        raise SpecError(f"suite {path} is not TOML: {str(error)[:300]}{hint}; mend that place.") from None
    title, description = content.pop("title", path.stem), content.pop("description", "")
    for key, value in (("title", title), ("description", description)):
        if not isinstance(value, str):
            raise SpecError(f"suite {path}: {key} must be text, not {value!r}.")
    differs = content.pop("differs", [])
    if not isinstance(differs, list) or not all(isinstance(entry, str) and entry.strip() for entry in differs):
        raise SpecError(f"suite {path}: differs is a list of sentences.")
    tables, published = content.pop("run", [{}]), content.pop("published", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise SpecError(f"suite {path}: write each run as a [[run]] table.")
    runs = tuple(_spec(path, {**content, **table, "parameters": _parameters(path, content, table)}) for table in tables)
    return Suite(title, description, runs, _published(path, published, content), tuple(differs))


def _published(path: Path, rows: Any, common: Mapping[str, Any]) -> tuple[Published, ...]:
    where = f"suite {path}"
    if not isinstance(rows, list):
        raise SpecError(f"{where}: write each published row as a [[published]] table.")
    if rows and all(isinstance(row, str) for row in rows):
        return tuple(entry for row in rows for entry in of_source(row, where))
    return tuple(read_published(row, where, common.get("parameters", {})) for row in rows)


def _parameters(path: Path, common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten ``[parameters]`` tables: ``attack.steps = 20`` is the table attack with the key steps."""
    merged: dict[str, Any] = {}
    for table in (common.get("parameters", {}), own.get("parameters", {})):
        if not isinstance(table, dict):
            raise SpecError(f"suite {path}: parameters is a table such as [parameters] with attack.steps = 20.")
        for owner, values in table.items():
            if not isinstance(values, dict):
                raise SpecError(f"suite {path}: parameter '{owner}' names no component; write role.parameter = value.")
            merged.update({f"{owner}.{name}": value for name, value in values.items()})
    return merged


def _spec(path: Path, table: Mapping[str, Any]) -> Spec:
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in _KEYS:
            raise SpecError(f"suite {path}: '{name}' is no key of a run; {suggestion(name, _KEYS)}")
        many, kind, words = _KEYS[name]
        entries = tuple(value) if many and isinstance(value, list) else (value,)
        for entry in entries:
            if isinstance(entry, str) and not entry.strip():
                raise SpecError(f"suite {path}: {name} is empty; give it a value, or leave the key out.")
            if not isinstance(entry, kind) or (isinstance(entry, bool) and kind is not bool):
                raise SpecError(f"suite {path}: {name} must be {words}, not {entry!r}.")
        values[name] = entries if many and not (name == "dataset" and isinstance(value, str)) else value
    return Spec(**values)
