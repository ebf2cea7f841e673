"""Every evaluation that ``robench traps`` runs, family by family."""

from __future__ import annotations

from robench.errors import SpecError, suggestion
from robench_traps import (
    answers,
    attacks,
    copies,
    data,
    defenses,
    dodges,
    honest,
    honest_defenses,
    honest_extremes,
    models,
    published,
    steps,
    training,
)
from robench_traps.trap import Control, Trap

TRAPS: tuple[Trap, ...] = (
    *attacks.TRAPS, *steps.TRAPS, *models.TRAPS, *answers.TRAPS, *defenses.TRAPS,
    *dodges.TRAPS, *training.TRAPS, *data.TRAPS, *copies.TRAPS, *published.TRAPS,
)  # fmt: skip
CONTROLS: tuple[Control, ...] = (*honest.CONTROLS, *honest_defenses.CONTROLS, *honest_extremes.CONTROLS)


def chosen(names: tuple[str, ...]) -> list[Trap | Control]:
    """Return the evaluations of these names, or all; SpecError for a name there is none of."""
    everything: tuple[Trap | Control, ...] = (*TRAPS, *CONTROLS)
    known = {entry.name: entry for entry in everything}
    for name in names:
        if name not in known:
            raise SpecError(f"There is no trap or honest control '{name}'; {suggestion(name, known)}")
    return [entry for name, entry in known.items() if not names or name in names]
