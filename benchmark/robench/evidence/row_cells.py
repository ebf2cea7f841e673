"""Cells of one defended victim as their cards have them: which images were right, and what each run saw together."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from robench.evidence.card import Card, Check, ComponentRecord
from robench.evidence.check_rules import LOST
from robench.evidence.cross_cell_checks import CHANCE, MUCH_DEARER
from robench.evidence.statistics import number_of

#: Attacks of the harness's own on the images that a row's attacks leave standing, with what they may win of all images.
PROBES = {
    name: LOST[name][0]
    for name in ("stronger attack", "measured slopes <= gradients", "queries <= gradients", "noise <= gradients")
}
#: What the gate saw on the images left standing, without a count that other attacks could lower.
IMPRESSIONS = ("another loss", "stable loss")
_LEVELS = ("quick", "standard", "thorough")


class RowCell:
    """Read from a card what the checks compare: which images were right, as the bits of a number."""

    def __init__(self, card: Card) -> None:
        self.card = card
        cell, model = card.cell, card.model
        # The seed is in: another seed is another training, and another row.
        # Images are known by their content, wherever they lie; the names of classes are what a zero-shot model reads.
        images = [card.data.test, card.data.classes, card.data.shape]
        setting = [*images, cell.threat.norm, cell.threat.eps, cell.seed]
        victim = [*setting, key_of_part(cell.victim), model.victim]
        self.victim = json.dumps(victim)
        self.row = json.dumps([*victim, *_defended(card)])
        #: What a certificate speaks of, whatever the threat model and the seed.
        self.weights = json.dumps([*images, key_of_part(cell.victim), model.victim, *_defended(card)])
        self.transfer = cell.surrogate is not None or cell.threat.access == "transfer"

    @cached_property
    def clean(self) -> int:
        """Return the images that were right without an attack."""
        return number_of(self.card.clean.mask())

    @cached_property
    def robust(self) -> int:
        """Return those that were right under it."""
        return number_of(self.card.robust.mask())

    @property
    def passes(self) -> float:
        """Return what crafting took per image that was attacked."""
        cost = self.card.cost.craft
        return (cost.forwards + cost.backwards) / max(cost.images, 1)

    @property
    def changed(self) -> tuple[int, int]:
        """Return how many images fell, and how many rose."""
        return (self.clean & ~self.robust).bit_count(), (~self.clean & self.robust).bit_count()

    @property
    def probes(self) -> tuple[object, ...]:
        """Return what the cells of one run have in common: what the gate found on their defended victim."""
        gate = self.card.gate
        found = [(one.name, one.value, one.n) for one in gate.checks if one.name in (*PROBES, *IMPRESSIONS)]
        return gate.level, gate.images, *found


@dataclass(frozen=True, eq=False)
class DefendedRow:
    """Hold all cells of one defended victim, in a fixed order."""

    cells: Sequence[RowCell]

    @cached_property
    def end_to_end(self) -> list[RowCell]:
        """Return the cells attacked through the defended victim."""
        return [cell for cell in self.cells if not cell.transfer]

    @cached_property
    def standing(self) -> int:
        """Return the images that are right under every attack on the defended victim."""
        return standing(self.end_to_end or self.cells)

    @cached_property
    def one_step_only(self) -> bool:
        """Tell whether nothing but single steps was tried."""
        return not any(cell.card.cell.iterative for cell in self.end_to_end)

    @cached_property
    def runs(self) -> dict[str, DefendedRow]:
        """Return, by card id, the cells that were probed together: those that the gate said the same of."""
        groups: dict[tuple[object, ...], list[RowCell]] = defaultdict(list)
        for cell in self.cells:
            groups[cell.probes].append(cell)
        found: dict[str, DefendedRow] = {}
        for group in groups.values():
            run = DefendedRow(group)
            for cell in group:
                # Two runs may agree by chance; then one of them probed more images than both leave standing.
                found[cell.card.id] = run if run.plausible else DefendedRow([cell])
        return found

    @cached_property
    def plausible(self) -> bool:
        """Tell whether the gate tried no more images than these cells leave standing."""
        left = self.standing.bit_count()
        return all(one.n <= left for one in self.cells[0].card.gate.checks if one.name in PROBES)

    @cached_property
    def strongest(self) -> DefendedRow:
        """Return the run whose attacks left the fewest images standing; of equals, the one that was probed hardest."""
        runs = list({id(run): run for run in self.runs.values()}.values())
        return min(runs, key=lambda run: (run.standing.bit_count(), -run.effort, run.cells[0].card.id))

    @property
    def effort(self) -> float:
        """Return how hard the gate tried, to tell runs apart that left equally many standing."""
        gate = self.cells[0].card.gate
        return 1e9 * (_LEVELS.index(gate.level) if gate.level in _LEVELS else -1) + gate.images

    def won_since(self, cell: RowCell) -> int:
        """Return how many images that stood in the cell's run fall to other attacks of the row."""
        run = self.runs[cell.card.id]
        # Beside transfer alone, the gate tries all images that were right clean.
        stood = run.standing if run.end_to_end else cell.clean
        return max(stood.bit_count() - self.standing.bit_count(), 0)


def standing(cells: Iterable[RowCell]) -> int:
    """Return the images that are right under every attack of these cells."""
    found = -1
    for cell in cells:
        found &= cell.robust
    return found


def lowered(cell: RowCell, others: Sequence[RowCell]) -> tuple[int, int]:
    """Return how many images stand under ``others`` (without any, how many are right clean), and fall to ``cell``."""
    stood = standing(others) if others else cell.clean
    return stood.bit_count(), (stood & ~cell.robust).bit_count()


def iterative(cells: Sequence[RowCell]) -> list[RowCell]:
    """Return the attacks of more than one step."""
    return [other for other in cells if other.card.cell.iterative]


def cheaper(cell: RowCell, cells: Sequence[RowCell]) -> list[RowCell]:
    """Return the attacks that took a quarter of the cell's passes or fewer; passes as counted, which cards hold.

    Where nothing was right there was nothing to attack, and no passes to compare.
    """
    return [other for other in cells if 0 < other.passes * MUCH_DEARER <= cell.passes]


def without_cheaper(cell: RowCell, cells: Sequence[RowCell]) -> list[RowCell]:
    """Return the attacks beside which a dear one is weighed: of many steps, and not much cheaper."""
    rivals = cheaper(cell, cells)
    return [other for other in cells if (other.card.cell.iterative or other is cell) and other not in rivals]


def won_over(stood: Sequence[RowCell], others: Sequence[RowCell]) -> int:
    """Return how many images stand under all of ``stood`` and fall under one of ``others``, beyond chance."""
    won = standing(stood) & ~standing(others)
    draws = stood[0].card.robust.draws
    if draws == 1:
        return won.bit_count()
    least = [[min(hits) for hits in zip(*map(hits_of, cells), strict=True)] for cells in (stood, others)]
    surely = [a - b >= CHANCE * math.sqrt(draws / 2) for a, b in zip(*least, strict=True)]
    return (won & number_of(surely)).bit_count()


def hits_of(cell: RowCell) -> Sequence[int]:
    """Return, per image, in how many draws it was right."""
    outcome = cell.card.robust
    return [flag * outcome.draws for flag in outcome.mask()] if outcome.hits is None else outcome.hits


def check_of(cell: RowCell, name: str) -> Check | None:
    """Return the card's check of that name, if it has one."""
    return next((one for one in cell.card.gate.checks if one.name == name), None)


def key_of_part(part: ComponentRecord) -> Any:
    """Return what tells two components of one kind apart."""
    return [part.name, part.version, dict(sorted(part.parameters.items()))]


def _defended(card: Card) -> list[Any]:
    return [key_of_part(card.cell.defense), card.model.defended]
