"""A suite as its user wants it: options take the place of what the file says, and the card says which did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robench.errors import DataError
from robench.plan.protocol_facts import protocol_followed, with_chosen_datasets
from robench.plan.published_figures import Published
from robench.plan.spec import Spec, unused_parameters
from robench.plan.suite import PREFIX, PROTOCOL, Suite, read_suite, suite_file
from robench.plugin.catalog import Catalog


@dataclass(frozen=True)
class SuiteRequest:
    """Hold the requests of a suite as they are to be run.

    Attributes:
        title: the suite's.
        runs: its requests, changed.
        published: figures to be shown beside the measured ones.
        notes: sentences on what of the suite the changes leave without effect.
        name: the suite's file, or ``suite:NAME``.
    """

    title: str
    runs: tuple[Spec, ...]
    published: tuple[Published, ...] = ()
    notes: tuple[str, ...] = ()
    name: str = ""


def suite_request(
    named: Path | str,
    changes: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    known: Catalog | None = None,
) -> SuiteRequest:
    """Return the requests of a suite, with ``changes`` in place of its own fields and ``parameters`` added.

    Args:
        named: a file, or ``suite:NAME`` for one that comes along.
        changes: fields of :class:`robench.plan.spec.Spec` that every run takes in place of its own.
        parameters: component parameters of every run that has such a component.
        known: the components to choose from; None is every installed plugin.
    """
    changes, parameters = changes or {}, parameters or {}
    suite = read_suite(suite_file(named))
    suite, changes = with_chosen_datasets(named, suite, changes, known)
    said = {name: list(value) if isinstance(value, tuple) else value for name, value in changes.items()}
    said |= {"parameters": dict(parameters)} if parameters else {}
    comes_along = str(named).startswith((PREFIX, PROTOCOL))
    origin: dict[str, Any] = {"name": str(named) if comes_along else Path(named).name}
    origin |= {"changed": said} if said else {}
    if followed := protocol_followed(named, suite, changes, parameters, known):
        origin["protocol"] = followed
    runs = [replace(run, parameters={**run.parameters, **parameters}, suite=origin, **changes) for run in suite.runs]
    if not said:
        return SuiteRequest(suite.title, tuple(runs), suite.published, name=origin["name"])
    unused = [_unused(run, known) for run in runs]
    everywhere = set[str].intersection(*map(set, unused))
    kept = [_without(run, [key for key in left if key not in parameters or key not in everywhere]) for run, left in
            zip(runs, unused, strict=True)]  # fmt: skip
    notes = _notes(suite, everywhere - set(parameters))
    return SuiteRequest(suite.title, tuple(kept), suite.published, notes, origin["name"])


def _unused(run: Spec, known: Catalog | None) -> list[str]:
    """Return the parameters without a component; none where the components cannot be had, which the run will say."""
    try:
        return unused_parameters(run, known)
    except DataError:
        return []


def _without(run: Spec, keys: Sequence[str]) -> Spec:
    return replace(run, parameters={key: value for key, value in run.parameters.items() if key not in keys})


def _notes(suite: Suite, keys: set[str]) -> tuple[str, ...]:
    """Say which of the suite's own parameters no component has any more."""
    own = sorted(key for key in keys if any(key in run.parameters for run in suite.runs))
    if not own:
        return ()
    return (f"With these options nothing of the suite has {', '.join(own)}; they are left out.",)
