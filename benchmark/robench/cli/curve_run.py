"""What ``robench curve`` runs: a card a radius, then the radii between them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.cli.perform import perform
from robench.evidence.row_verdict import judge_together

if TYPE_CHECKING:
    from robench.evidence.card import Card
    from robench.evidence.security_curve import SecurityCurve
    from robench.plan.cell import Cell
    from robench.plan.spec import Spec


@dataclass(frozen=True)
class Line:
    """Hold one curve: the cards that differ in eps alone, by eps, and what became of each image.

    ``title`` says what tells it from the others of its request.
    """

    title: str
    cards: tuple[Card, ...]
    curve: SecurityCurve

    @property
    def first(self) -> Card:
        """Return the card of the smallest radius."""
        return self.cards[0]


def measured(
    specs: tuple[Spec, ...], store: Path | None, out: Path, options: dict[str, Any]
) -> tuple[list[Card], list[tuple[str, str]]]:
    """Return the cards of all radii, judged together, and title and reason of what failed."""
    cards, failures, _ = perform(specs, store, out, options)
    return judge_together(cards), failures


def lines(
    specs: tuple[Spec, ...], cards: list[Card], store: Path | None, options: dict[str, Any], width: float | None
) -> tuple[list[Line], str]:
    """Return the curves of the cards, each image's bracket halved until it is no wider than ``width``.

    Beside them, what all of them share.
    """
    from robench.api import choose_device
    from robench.evidence.store import default_root
    from robench.gate.level import level_of
    from robench.pipeline.critical_radius import security_curve
    from robench.pipeline.workbench import Options, Workbench
    from robench.plan.spec import plan
    from robench.runtime.interruption import contained
    from robench.runtime.progress_bars import terminal
    from robench_leaderboard.ranking.told_apart import told_apart

    device = choose_device(options["device"])
    by_id = {card.id: card for card in cards}
    groups: dict[str, list[tuple[Cell, Card]]] = {}
    for cell in (cell for spec in specs for cell in plan(spec, device)):
        if cell.score_id in by_id:
            groups.setdefault(_key(cell), []).append((cell, by_id[cell.score_id]))
    with terminal() as progress, contained():
        workbench = Workbench(
            Options(
                store=store or default_root(), device=device, batch_size=options["batch_size"],
                gate=level_of(options["gate"], None, None), timeout=options["timeout"], progress=progress,
            ),
            device,
        )  # fmt: skip
        found = []
        for group in groups.values():
            group.sort(key=lambda one: one[0].threat.eps)
            found.append(Line("", tuple(card for _, card in group), security_curve(group, workbench, width)))
    if not found:
        return [], ""
    titles, shared = told_apart([line.first for line in found])
    return [replace(line, title=title) for line, title in zip(found, titles, strict=True)], shared


def _key(cell: Cell) -> str:
    """Return what cells share that differ in eps alone."""
    via = None if cell.surrogate is None else cell.model_id(cell.surrogate)
    return json.dumps([cell.fit_id, cell.data_id, cell.attack.key, via, cell.threat.access, cell.seed])
