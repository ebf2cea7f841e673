"""Protocols: suites that fix what makes two numbers comparable, and what is left of the name where that is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from robench.contracts.components import Component, Dataset
from robench.contracts.parameters import Value, parameters_of, resolve
from robench.contracts.search_precision import searched_in
from robench.contracts.threat_model import format_eps, parse_eps, radius_of
from robench.plan.references import build_reference, resolve_reference, split_reference
from robench.plan.spec import Spec
from robench.plan.suite import PROTOCOL, Suite
from robench.plugin.catalog import Catalog, catalog

#: What a protocol leaves to whoever runs it.
FREE = ("victim", "defense", "train_dataset", "seed", "label")
#: Roles whose parameters are free too, but for those that the protocol sets.
FREE_ROLES = ("victim", "defense", "train-dataset")


def protocol_followed(
    named: Path | str,
    suite: Suite,
    changes: Mapping[str, Any],
    parameters: Mapping[str, Any],
    known: Catalog | None = None,
) -> str:
    """Return the protocol that a run follows, such as ``tecoa-16`` or ``tecoa-16, changed: n``; empty for none."""
    if not str(named).startswith(PROTOCOL):
        return ""
    fields = [
        name
        for name, value in changes.items()
        if name not in FREE and any(getattr(run, name) != value for run in suite.runs)
    ]
    settings = [
        key
        for key, value in parameters.items()
        if _fixed(key, suite, known or catalog()) and any(run.parameters.get(key) != value for run in suite.runs)
    ]
    name = str(named).removeprefix(PROTOCOL)
    return name if not fields + settings else f"{name}, changed: {', '.join(sorted([*fields, *settings]))}"


def protocol_of(request: Mapping[str, Any]) -> str:
    """Return the protocol that a request, as a card holds it, follows; empty for none."""
    suite = request.get("suite") or {}
    return str(suite.get("protocol", ""))[:200]


def with_chosen_datasets(
    named: Path | str, suite: Suite, changes: Mapping[str, Any], known: Catalog | None = None
) -> tuple[Suite, Mapping[str, Any]]:
    """Return a protocol with those of its data sets that the changes name, which is no change; any else stays one."""
    if not str(named).startswith(PROTOCOL) or not changes.get("dataset"):
        return suite, changes
    given = changes["dataset"]
    wanted = [given] if isinstance(given, str) else list(given)
    runs = [(run, _datasets(run, known or catalog())) for run in suite.runs]
    every = {name for _, sets in runs for pair in sets for name in pair}
    if not set(wanted) <= every:
        return suite, changes
    kept = [(run, tuple(ref for ref, name in sets if ref in wanted or name in wanted)) for run, sets in runs]
    rest = {name: value for name, value in changes.items() if name != "dataset"}
    return replace(suite, runs=tuple(replace(run, dataset=sets) for run, sets in kept if sets)), rest


def facts(suite: Suite, known: Catalog | None = None) -> dict[str, dict[str, str]]:
    """Return, by data set, what a protocol says of it: images, attack space, class names, prompts, n, attack, eps."""
    known = known or catalog()
    found: dict[str, dict[str, str]] = {}
    for run in suite.runs:
        attacks = [_attack(known, name) + searched_in(run.precision) for name in run.attack]
        threat = ", ".join(radius_of(parse_eps(eps, run.norm), run.norm) for eps in run.eps)
        for reference, name in _datasets(run, known):
            kind, values = _settings(known, "dataset", reference, run)
            found[name] = {
                "images": _images(kind, name, values),
                "attack space": _space(values),
                "class names": _names(values),
                "prompts": _prompts(kind, run),
                "n": _count(run.n, values.get("first")),
                "attack": "; ".join(attacks) + "".join(f"; from {one}" for one in run.surrogate),
                "eps": f"{run.norm} {threat}",
            }
    return found


def differences(first: Suite, second: Suite, known: Catalog | None = None) -> list[tuple[str, str, str, str]]:
    """Return (what differs, on which data sets, what the first says, what the second says), the widest first."""
    one, other = facts(first, known), facts(second, known)
    both = [name for name in one if name in other]
    rows: dict[tuple[str, str, str], list[str]] = {}
    for name in both:
        for aspect, value in one[name].items():
            if value != other[name][aspect]:
                rows.setdefault((aspect, value, other[name][aspect]), []).append(name)
    order = list(next(iter(one.values()), {}))
    listed = sorted(rows.items(), key=lambda item: (order.index(item[0][0]), -len(item[1])))
    found = [
        (aspect, "all they share" if len(names) == len(both) else ", ".join(names), here, there)
        for (aspect, here, there), names in listed
    ]
    lone = ([name for name in one if name not in other], [name for name in other if name not in one])
    if any(lone):
        here, there = (", ".join(names) or "-" for names in lone)
        found.insert(0, ("data sets", "not shared", here, there))
    return found


def _datasets(run: Spec, known: Catalog) -> list[tuple[str, str]]:
    """Return each reference of a run with the name of its images."""
    references = [run.dataset] if isinstance(run.dataset, str) else list(run.dataset)
    return [(reference, _origin(reference, known)) for reference in references]


def _origin(reference: str, known: Catalog) -> str:
    built = build_reference(known, "dataset", reference)
    return built.origin() if isinstance(built, Dataset) else built.name


def _settings(
    known: Catalog, role: str, reference: str, run: Spec | None = None
) -> tuple[type[Component], dict[str, Value]]:
    """Return a component's class and all its parameters; nothing is looked for on this machine."""
    text, inside = split_reference(reference)
    name, implied = resolve_reference(known, role, text)
    kind = known.find(role, name).component
    declared = parameters_of(kind)
    given = {
        parameter: value
        for key, value in (run.parameters.items() if run is not None else ())
        for owner, _, parameter in [key.partition(".")]
        if owner in (role, name) and parameter in declared
    }
    return kind, resolve(name, kind, {**given, **implied, **inside})


def _images(kind: type[Component], name: str, values: Mapping[str, Value]) -> str:
    through = f", through {kind.name}" if name != kind.name else ""
    return ("all there are" if values.get("test") == 1.0 else "the test part") + through


def _count(drawn: int | None, first: Value) -> str:
    if drawn:
        return f"{drawn:,} drawn"
    return f"the first {first:,}" if isinstance(first, int) and first else "all"


def _space(values: Mapping[str, Value]) -> str:
    size, short = values.get("size"), values.get("resize")
    if not isinstance(size, int):
        return "as stored"
    how = values.get("resample") or "bicubic"
    if isinstance(short, int):
        return f"Resize({short}, {how}), CenterCrop({size})"
    return f"{size} x {size}, {how}"


def _names(values: Mapping[str, Value]) -> str:
    spelling = {"raw": "as torchvision has them", "refined": "small letters, _ - / as spaces"}
    return spelling.get(str(values.get("spelling")), "its own")


def _prompts(kind: type[Component], run: Spec) -> str:
    template = run.parameters.get("victim.template")
    if template:
        return str(template)
    many = run.parameters.get("victim.ensemble") in (True, "true")
    own = getattr(kind, "templates", Dataset.templates)
    if not isinstance(own, tuple):
        return "the mean over its own templates" if many else "its own first template"
    return "the mean over " + " | ".join(own) if many else own[0]


def _attack(known: Catalog, reference: str) -> str:
    kind, values = _settings(known, "attack", reference)
    defaults = {name: entry.default for name, entry in parameters_of(kind).items()}
    changed = {name: value for name, value in values.items() if value != defaults[name]}
    weak = " (weak, as published)" if changed.pop("as_published", False) else ""
    shown = {name: format_eps(value) if isinstance(value, float) else value for name, value in changed.items()}
    inside = ", ".join(f"{name} {value}" for name, value in shown.items())
    return f"{kind.name}{f' ({inside})' if inside else ''}{weak}"


def _fixed(key: str, suite: Suite, known: Catalog) -> bool:
    """Tell whether a parameter is one that the protocol fixes: any of data or attack, but not where files lie."""
    owner, _, parameter = key.partition(".")
    roles = [role for (role, name) in known.offers if owner in (role, name)] or [owner]
    set_by_it = {entry.partition(".")[2] for run in suite.runs for entry in run.parameters}
    if any(role in FREE_ROLES for role in roles):
        return parameter in set_by_it
    declared = [parameters_of(offer.component) for offer in known.offers.values() if owner in (offer.role, offer.name)]
    return not any(entries[parameter].path for entries in declared if parameter in entries)
