"""What a command line or a suite file asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.cli.values import joined, read_parameters, read_seeds
from robench.errors import SpecError

if TYPE_CHECKING:
    from robench.plan.published_figures import Published
    from robench.plan.spec import Spec


def requests(suite: Path | None, options: dict[str, Any]) -> tuple[str, tuple[Spec, ...], tuple[Published, ...]]:
    """Return the title, the requests that the command line or the suite file makes, and figures to compare with."""
    from robench.plan.spec import DEFAULT_EPS, Spec

    lists = {name: joined(options[name]) for name in ("dataset", "victim", "defense", "attack", "surrogate", "eps")}
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
            eps=lists["eps"] or (DEFAULT_EPS,),
            norm=options["norm"] if options["norm"] is not None else "Linf",
            seed=seeds or (0,),
            n=options["n"],
            parameters=parameters,
            label=labels,
        )
        return "", (spec,), ()
    if any(lists.values()) or options["train_dataset"] or options["norm"] is not None:
        raise SpecError(
            "A suite file says which components run; leave those options out, or edit a copy of the file. "
            "(--n, --seed, --label and -p do change a suite.)"
        )
    from dataclasses import replace

    from robench.plan.suite import read_suite

    changes: dict[str, Any] = {"n": options["n"]} if options["n"] is not None else {}
    changes |= {"seed": seeds} if seeds else {}
    changes |= {"label": labels} if labels else {}
    read = read_suite(suite)
    runs = (replace(spec, parameters={**spec.parameters, **parameters}, **changes) for spec in read.runs)
    return read.title, tuple(runs), read.published
