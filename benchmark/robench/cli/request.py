"""What a command line or a suite file asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.cli.values import joined, read_parameters, read_seeds

if TYPE_CHECKING:
    from robench.plan.suite_changes import SuiteRequest

LISTS = ("dataset", "victim", "defense", "attack", "surrogate", "certificate", "eps")


def requests(suite: Path | None, options: dict[str, Any]) -> SuiteRequest:
    """Return the requests that the command line or the suite makes, a title, and figures to compare with.

    Options take the place of what a suite says.
    """
    from robench.plan.spec import DEFAULT_EPS, Spec
    from robench.plan.suite_changes import SuiteRequest, suite_request

    if options.get("protocol"):
        suite = _protocol(suite, options["protocol"])
    lists = {name: joined(options.get(name, ())) for name in LISTS}
    labels = tuple(options["label"])
    seeds, parameters = read_seeds(joined(options["seed"])), read_parameters(options["parameters"])
    if suite is None:
        spec = Spec(
            dataset=lists["dataset"] or "",
            train_dataset=options["train_dataset"],
            victim=lists["victim"],
            defense=lists["defense"] or ("none",),
            attack=lists["attack"] or ("pgd",),
            surrogate=lists["surrogate"],
            certificate=lists["certificate"],
            eps=lists["eps"] or (DEFAULT_EPS,),
            norm=options["norm"] if options["norm"] is not None else "Linf",
            precision=options["precision"] if options["precision"] is not None else "float32",
            seed=seeds or (0,),
            n=options["n"],
            parameters=parameters,
            label=labels,
        )
        return SuiteRequest("", (spec,))
    changes: dict[str, Any] = {name: names for name, names in lists.items() if names}
    changes |= {name: options[name] for name in ("norm", "precision", "n") if options[name] is not None}
    changes |= {"train_dataset": options["train_dataset"]} if options["train_dataset"] else {}
    changes |= {"seed": seeds} if seeds else {}
    changes |= {"label": labels} if labels else {}
    return suite_request(suite, changes, parameters)


def _protocol(suite: Path | None, name: str) -> Path:
    """Return what ``--protocol`` stands for, as a suite is named."""
    from robench.errors import SpecError
    from robench.plan.suite import PROTOCOL

    if suite is not None:
        raise SpecError(f"Both the suite {suite} and --protocol {name} are named; give one of them.")
    return Path(PROTOCOL + name.removeprefix(PROTOCOL))
