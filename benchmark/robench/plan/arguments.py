"""The arguments of ``robench.run`` and ``robench.evaluate``: what there is not is refused, with what was meant."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeGuard

from robench.errors import ArgumentError, SpecError, suggestion
from robench.plan import request_values as values
from robench.plan.spec import Spec
from robench.plan.suite import PREFIX, PROTOCOL
from robench.plan.suite_changes import SuiteRequest, suite_request

_DEVICE = re.compile(r"auto|cpu|mps|(?:cuda|xpu)(?::\d{1,4})?")

#: What robench.run takes beside a request, and what of it robench.evaluate passes on.
RUN = (
    "store", "device", "batch_size", "offline", "compiled", "prepared", "gate", "gate_images", "gate_cost", "timeout",
    "progress", "gallery", "keep_images", "shard", "compute", "known", "on_card", "on_training",
)  # fmt: skip
PASSED_ON = tuple(name for name in RUN if name not in ("store", "shard", "compute", "known", "on_card", "on_training"))

#: What robench.evaluate takes of its own.
EVALUATE = ("dataset", "attack", "eps", "norm", "precision", "n", "seed", "certificate", "name", "parameters", "store")


def spec_from(**request: Any) -> Spec:
    """Return a Spec from keywords, a single value standing for a list of one; ArgumentError for an unknown one."""
    known = [entry.name for entry in fields(Spec) if entry.name != "suite"]
    for name, value in request.items():
        if name not in known:
            raise ArgumentError(_unknown("run", name, [*known, *RUN]))
        if name == "train_dataset":
            values.text(name, value)
        if name == "dataset" and not (isinstance(value, list | tuple) and value):
            values.text(name, value)
    taken: dict[str, Any] = {
        name: values.several(name, value) if name in values.LISTS else value for name, value in request.items()
    }
    return Spec(**taken)


def requests(asked: Spec | str | os.PathLike[str] | None, request: Mapping[str, Any]) -> SuiteRequest:
    """Return the requests of a suite, changed by the fields given too; or the one of a Spec or of its fields."""
    if isinstance(asked, os.PathLike) or _is_suite(asked):
        changed = values.checked(spec_from(**request))
        fields_of_runs = {name: getattr(changed, name) for name in request if name != "parameters"}
        return suite_request(os.fspath(asked), fields_of_runs, changed.parameters)
    return SuiteRequest("", (one_request(asked, request),))


def _is_suite(asked: object) -> TypeGuard[str]:
    return isinstance(asked, str) and (asked.startswith((PREFIX, PROTOCOL)) or asked.endswith(".toml"))


def one_request(spec: object, request: Mapping[str, Any]) -> Spec:
    """Return the request, which is given as a Spec or as its fields."""
    if spec is None:
        return spec_from(**request)
    if not isinstance(spec, Spec):
        raise ArgumentError(
            f"robench.run takes a Spec or a suite first, not {values.shown(spec)}; name what is meant, such as "
            "robench.run(defense='tecoa', attack='pgd') or robench.run('suite:digits')."
        )
    spec_from(**request)
    for name in request:
        raise ArgumentError(f"robench.run was given a Spec and '{name}' too; put it into the Spec, or leave it out.")
    return spec


def check_options(device: Any, batch_size: Any = None, timeout: Any = None) -> tuple[str, int | None, float | None]:
    """Return device, batch size and time limit as plain values; SpecError for what they cannot be."""
    device = values.text("device", str(device) if type(device).__module__ == "torch" else device)
    if not _DEVICE.fullmatch(device):
        raise SpecError(f"--device {device[:40]} is no device; write cpu, cuda or cuda:0, mps, xpu or auto.")
    if batch_size is not None:
        batch_size = values.whole("batch_size", batch_size, 1, "give at least 1, or leave --batch-size out")
    if timeout is not None:
        out = "give seconds above 0, such as 60, or leave --timeout out to wait for ever"
        timeout = values.number("timeout", timeout, out)
        if timeout <= 0:
            raise SpecError(f"--timeout {timeout:g} leaves an attack no time; {out}.")
    return device, batch_size, timeout


def check_gate(gate: Any, images: Any, cost: Any) -> tuple[str, int | None, float | None]:
    """Return the gate's level and limits as plain values; SpecError for what are none."""
    if images is not None:
        images = values.whole("gate_images", images, -values.MOST, "give at least 1, or leave --gate-images out")
    if cost is not None:
        cost = values.number("gate_cost", cost, "give a number above 0, such as 1")
    return values.text("gate", gate), images, cost


def check_evaluate(module: object, name: object, dataset: object, options: Mapping[str, Any]) -> None:
    """Refuse what ``robench.evaluate`` would drop or could not read."""
    known = [*EVALUATE, *PASSED_ON]
    for entry in options:
        if entry in ("defense", "surrogate", "victim", "baseline"):
            raise ArgumentError(
                f"robench.evaluate has no argument '{entry}': it measures one bare module as it is, and robench.run "
                f"has one, with victim='net.py:build'. Known: {', '.join(sorted(known))}."
            )
        if entry not in known:
            raise ArgumentError(_unknown("evaluate", entry, known))
    if isinstance(module, str):
        raise ArgumentError(
            f"robench.evaluate measures an nn.Module, not {values.shown(module)}; robench.run(victim={module!r}) "
            "measures a model by its name."
        )
    values.text("name", name)
    if isinstance(dataset, str):
        values.text("dataset", dataset)


def _unknown(function: str, name: str, known: Iterable[str]) -> str:
    return f"robench.{function} has no argument '{name}'; {suggestion(name, known)}"
