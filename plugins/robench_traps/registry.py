"""Every evaluation that ``robench traps`` runs, family by family."""

from __future__ import annotations

import re
from collections.abc import Callable

from robench import Control, Detector, Trap
from robench.errors import PluginError, SpecError, attributed_to, suggestion
from robench.evidence.check_rules import CHECKS, OF_A_KIND, WHERE_CERTIFIED
from robench.plan.references import split_reference
from robench.plugin.catalog import catalog
from robench.plugin.discovery import Plugin
from robench_traps import (
    answers,
    attacks,
    certificates,
    copies,
    corrupted,
    data,
    defenses,
    dodges,
    few_pixels,
    honest,
    honest_data,
    honest_defenses,
    honest_extremes,
    honest_models,
    honest_threats,
    models,
    one_for_all,
    published,
    routes,
    selection,
    squares,
    steps,
    training,
    weak_steps,
)

TRAPS: tuple[Trap, ...] = (
    *attacks.TRAPS, *steps.TRAPS, *models.TRAPS, *answers.TRAPS, *defenses.TRAPS,
    *dodges.TRAPS, *training.TRAPS, *data.TRAPS, *copies.TRAPS, *published.TRAPS,
    *routes.TRAPS, *selection.TRAPS, *weak_steps.TRAPS,
    *certificates.TRAPS,
    *few_pixels.TRAPS, *squares.TRAPS, *one_for_all.TRAPS, *corrupted.TRAPS,
)  # fmt: skip
CONTROLS: tuple[Control, ...] = (
    *honest.CONTROLS, *honest_defenses.CONTROLS, *honest_extremes.CONTROLS, *honest_data.CONTROLS,
    *honest_models.CONTROLS, *certificates.CONTROLS, *copies.CONTROLS, *honest_threats.CONTROLS,
)  # fmt: skip


def chosen(names: tuple[str, ...]) -> list[Trap | Control]:
    """Return the evaluations of these names, or all; SpecError for a name there is none of."""
    everything: list[Trap | Control] = [*TRAPS, *CONTROLS]
    known = {entry.name: entry for entry in everything}
    for plugin in catalog().plugins:
        for entry in offered_by(plugin):
            if entry.name in known:
                raise PluginError(
                    f"{plugin.label} offers the trap or honest control '{entry.name}', of which there is one already; "
                    "rename it, or leave the plugin out with --without."
                )
            known[entry.name] = entry
    for name in names:
        if name not in known:
            raise SpecError(f"There is no trap or honest control '{name}'; {suggestion(name, known)}")
    return [entry for name, entry in known.items() if not names or name in names]


def offered_by(plugin: Plugin) -> list[Trap | Control]:
    """Return the evaluations that a plugin adds; PluginError, with the plugin's name, for any that cannot be run."""
    hook = getattr(plugin.module, "robench_evaluations", None)
    if hook is None:
        return []
    with attributed_to(f"robench_evaluations of {plugin.label}", PluginError):
        returned = hook()
    if not isinstance(returned, list | tuple):
        raise PluginError(f"robench_evaluations of {plugin.label} must return a list, not {returned!r}.")
    for entry in returned:
        wrong = fault(entry)
        if wrong:
            raise PluginError(
                f"robench_evaluations of {plugin.label} returned {wrong}; mend it, or leave the plugin out with "
                "--without."
            )
    return list(returned)


def fault(entry: object) -> str:
    """Return what is wrong with an evaluation as it is written down; empty if nothing."""
    if not isinstance(entry, Trap | Control):
        return f"{entry!r}, which is neither a robench.Trap nor a robench.Control"
    title = f"'{entry.name}'"
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name):
        return f"{title}, which nobody can type after --only: write a name of small letters, digits and hyphens"
    if not entry.story.strip().endswith("."):
        return f"{title}, whose story is not a sentence: say what is done, with a full stop"
    if not isinstance(entry, Trap):
        return ""
    if not entry.expected and not entry.refusal:
        return f"the trap {title}, which says neither which checks must catch it (expected=) nor how it is refused"
    known = (*CHECKS, *OF_A_KIND, *WHERE_CERTIFIED)
    unknown = [name for name in entry.expected if name not in known]
    return (
        f"the trap {title}, which expects the check '{unknown[0]}'; {suggestion(unknown[0], known)}" if unknown else ""
    )


def asked(names: tuple[str, ...], note: Callable[[str], None]) -> list[Detector]:
    """Return the detectors of these names, with their parameters in brackets; without a name all, with ``none`` none.

    Args:
        names: what was typed.
        note: told of each that is left out because what it needs is not installed.

    Raises:
        SpecError: there is none of that name, or one that was named needs what is not installed.
    """
    known = catalog()
    if names == ("none",):
        return []
    found: dict[str, Detector] = {}
    for reference in names or [offer.name for offer in known.of("detector")]:
        name, parameters = split_reference(reference)
        detector = known.find("detector", name).build(parameters)
        if not isinstance(detector, Detector):
            raise TypeError
        if name in found:
            raise SpecError(f"--detectors names {name} twice; name it once.")
        lacking = " ".join(detector.missing())
        if lacking and names:
            raise SpecError(lacking)
        if lacking:
            note(f"Left out: {lacking}")
        else:
            found[name] = detector
    return list(found.values())
