"""Judge the cards of one defended victim together, from whatever runs they come; no torch, no component is loaded.

A card holds the verdict of the run that wrote it, which saw the cells of that run. Here the checks that compare cells
are made again over all cards that are present. What a run found is taken back only as far as other attacks of the row
explain it: each image that they win lowers the count by one. So a weak attack that ran alone accuses nobody once a
stronger one is there, and leaving out a card that accuses acquits nobody.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import msgspec

from robench.evidence.card import Card, Check, ComponentRecord, Status, Verdict
from robench.evidence.check_verdict import INTOLERABLE, STRONGER, TOLERATED, check, looked_at, weighed
from robench.evidence.cross_cell_checks import (
    CHANCE,
    DEARER,
    DECLARED,
    FALLS,
    MUCH_DEARER,
    ONE_STEP,
    TRANSFER,
    dearer_check,
    declared_check,
    falls_check,
    fell,
    one_step_check,
    transfer_check,
)

#: Attacks of the harness's own on the images that a row's attacks leave standing, with what they may win of all images.
PROBES = {
    "stronger attack": STRONGER,
    "measured slopes <= gradients": (TOLERATED, INTOLERABLE),
    "queries <= gradients": (TOLERATED, INTOLERABLE),
    "noise <= gradients": (TOLERATED, INTOLERABLE),
}
#: What the gate saw on the images left standing, without a count that other attacks could lower.
IMPRESSIONS = ("another loss", "stable loss")
_SEVERITY: tuple[Status, ...] = ("skipped", "pass", "suspect", "invalid")
_LEVELS = ("quick", "standard", "thorough")


def judge_together(cards: Iterable[Card]) -> list[Card]:
    """Return the cards in their order, each with the checks that compare cells made over all of these cards.

    Give it cards as they were recorded: what other attacks explain is taken off what a run found.
    """
    found = [_Cell(card) for card in cards]
    rows: dict[str, list[_Cell]] = defaultdict(list)
    undefended: dict[str, list[_Cell]] = defaultdict(list)
    for cell in found:
        rows[cell.row].append(cell)
        if cell.card.cell.undefended and not cell.transfer:
            undefended[cell.victim].append(cell)
    judged = {key: _Row(sorted(cells, key=lambda cell: cell.card.id)) for key, cells in rows.items()}
    return [_judged(cell, judged[cell.row], undefended[cell.victim]) for cell in found]


class _Cell:
    """Read from a card what the checks compare: which images were right, as the bits of a number."""

    def __init__(self, card: Card) -> None:
        self.card = card
        cell, model = card.cell, card.model
        # The seed is in: another seed is another training, and another row.
        # Images are known by their content, wherever they lie; the names of classes are what a zero-shot model reads.
        images = [card.data.test, card.data.classes, card.data.shape]
        setting = [*images, cell.threat.norm, cell.threat.eps, cell.seed]
        victim = [*setting, _key(cell.victim), model.victim]
        self.victim = json.dumps(victim)
        self.row = json.dumps([*victim, _key(cell.defense), model.defended])
        self.transfer = cell.surrogate is not None or cell.threat.access == "transfer"

    @cached_property
    def clean(self) -> int:
        return _number(self.card.clean.mask())

    @cached_property
    def robust(self) -> int:
        return _number(self.card.robust.mask())

    @property
    def passes(self) -> float:
        """Return what crafting took per image that was attacked."""
        cost = self.card.cost.craft
        return (cost.forwards + cost.backwards) / max(cost.images, 1)

    @property
    def fell(self) -> bool:
        return fell((self.clean & ~self.robust).bit_count(), (~self.clean & self.robust).bit_count())

    @property
    def probes(self) -> tuple[object, ...]:
        """Return what the cells of one run have in common: what the gate found on their defended victim."""
        gate = self.card.gate
        found = [(one.name, one.value, one.n) for one in gate.checks if one.name in (*PROBES, *IMPRESSIONS)]
        return gate.level, gate.images, *found


@dataclass(frozen=True, eq=False)
class _Row:
    """Hold all cells of one defended victim, in a fixed order."""

    cells: Sequence[_Cell]

    @cached_property
    def end_to_end(self) -> list[_Cell]:
        return [cell for cell in self.cells if not cell.transfer]

    @cached_property
    def standing(self) -> int:
        return standing(self.end_to_end or self.cells)

    @cached_property
    def one_step_only(self) -> bool:
        return not any(cell.card.cell.iterative for cell in self.end_to_end)

    @cached_property
    def runs(self) -> dict[str, _Row]:
        """Return, by card id, the cells that were probed together: those that the gate said the same of."""
        groups: dict[tuple[object, ...], list[_Cell]] = defaultdict(list)
        for cell in self.cells:
            groups[cell.probes].append(cell)
        found: dict[str, _Row] = {}
        for group in groups.values():
            run = _Row(group)
            for cell in group:
                # Two runs may agree by chance; then one of them probed more images than both leave standing.
                found[cell.card.id] = run if run.plausible else _Row([cell])
        return found

    @cached_property
    def plausible(self) -> bool:
        left = self.standing.bit_count()
        return all(one.n <= left for one in self.cells[0].card.gate.checks if one.name in PROBES)

    @cached_property
    def strongest(self) -> _Row:
        """Return the run whose attacks left the fewest images standing; of equals, the one that was probed hardest."""
        runs = list({id(run): run for run in self.runs.values()}.values())
        return min(runs, key=lambda run: (run.standing.bit_count(), -run.effort, run.cells[0].card.id))

    @property
    def effort(self) -> float:
        gate = self.cells[0].card.gate
        return 1e9 * (_LEVELS.index(gate.level) if gate.level in _LEVELS else -1) + gate.images

    def won_since(self, cell: _Cell) -> int:
        """Return how many images that stood in the cell's run fall to other attacks of the row."""
        run = self.runs[cell.card.id]
        # Beside transfer alone, the gate tries all images that were right clean.
        stood = run.standing if run.end_to_end else cell.clean
        return max(stood.bit_count() - self.standing.bit_count(), 0)


def standing(cells: Iterable[_Cell]) -> int:
    """Return the images that are right under every attack of these cells."""
    found = -1
    for cell in cells:
        found &= cell.robust
    return found


def _judged(cell: _Cell, row: _Row, undefended: Sequence[_Cell]) -> Card:
    gate = cell.card.gate
    checks = [_again(one, cell, row, undefended) for one in gate.checks]
    if checks == gate.checks:
        return cell.card
    # A verdict that its own checks do not explain is not taken back.
    stated: Verdict = gate.verdict if gate.verdict != _verdict(gate.checks) else "VALID"
    verdict = max(stated, _verdict(checks), key=("VALID", "SUSPECT", "INVALID").index)
    return msgspec.structs.replace(cell.card, gate=msgspec.structs.replace(gate, checks=checks, verdict=verdict))


def _verdict(checks: Iterable[Check]) -> Verdict:
    statuses = {one.status for one in checks}
    return "INVALID" if "invalid" in statuses else "SUSPECT" if "suspect" in statuses else "VALID"


def _again(one: Check, cell: _Cell, row: _Row, undefended: Sequence[_Cell]) -> Check:
    """Return the check as it stands beside all cards of the row."""
    if one.name in PROBES:
        return _probed(one.name, row) or one
    if one.name in IMPRESSIONS:
        return _of(row.strongest.cells[0], one.name) or one
    if one.name == FALLS and one.status == "suspect":
        return _falls(one, cell, undefended)
    if one.name == DECLARED and one.status == "suspect":
        return _declared(cell, row)
    compare: dict[str, Callable[[_Cell, _Row], Check | None]] = {
        TRANSFER: _transfer,
        DEARER: _dearer,
        ONE_STEP: _one_step,
    }
    if one.name not in compare:
        return one
    made = compare[one.name](cell, row)
    return _explained(one, cell, row) if made is None else _worse(made, _explained(one, cell, row))


def _probed(name: str, row: _Row) -> Check | None:
    """Return what a probe says of the row: the worst over its runs, each less what other attacks won since."""
    found = [(_explained(one, cell, row), cell) for cell in row.cells if (one := _of(cell, name))]
    order = {cell.card.id: place for place, cell in enumerate(row.strongest.cells)}
    found.sort(key=lambda pair: (-_fault(pair[0]), order.get(pair[1].card.id, len(order)), pair[1].card.id))
    return found[0][0] if found else None


def _explained(one: Check, cell: _Cell, row: _Row) -> Check:
    """Return a failed count less the images that other attacks of the row win: those it no longer says anything of."""
    since = _won_since(one, cell, row)
    if one.status not in ("suspect", "invalid") or one.value is None:
        return one
    n, left = cell.card.cell.n, row.runs[cell.card.id].standing.bit_count()
    limits = PROBES.get(one.name, (TOLERATED, INTOLERABLE))
    whole = one.name not in PROBES and one.n == n
    among = n if whole else looked_at(min(one.n, left), left, n) if left else 0.0
    mild = one.name == DEARER or (one.name in PROBES and row.one_step_only)
    status = weighed((one.value - since / n) * among, among, limits, "suspect" if mild else "invalid")
    if not since:
        return one if status == one.status or one.name not in PROBES else msgspec.structs.replace(one, status=status)
    meaning = (
        f"{one.meaning} Other attacks of the row win {since} more of the images that stood then."
        if status in ("suspect", "invalid")
        else f"Of what was won here, other attacks of the row win all but what is tolerated ({since} images more)."
    )
    return check(one.name, status, max(one.value - since / n, 0.0), one.threshold, one.n, meaning)


def _won_since(one: Check, cell: _Cell, row: _Row) -> int:
    """Return how many images that the check's attacks left standing in the cell's run fall to attacks beside them."""
    if one.name == DEARER:
        select: Callable[[Sequence[_Cell]], list[_Cell]] = partial(_without_cheaper, cell)
    elif one.name == ONE_STEP and one.n == cell.card.cell.n:
        select = _iterative
    else:
        return row.won_since(cell)
    before, now = (standing(select(part.end_to_end)) for part in (row.runs[cell.card.id], row))
    return before.bit_count() - now.bit_count()


def _iterative(cells: Sequence[_Cell]) -> list[_Cell]:
    return [other for other in cells if other.card.cell.iterative]


def _cheaper(cell: _Cell, cells: Sequence[_Cell]) -> list[_Cell]:
    """Return the attacks that took a quarter of the cell's passes or fewer; passes as counted, which cards hold.

    Where nothing was right there was nothing to attack, and no passes to compare.
    """
    return [other for other in cells if 0 < other.passes * MUCH_DEARER <= cell.passes]


def _without_cheaper(cell: _Cell, cells: Sequence[_Cell]) -> list[_Cell]:
    cheaper = _cheaper(cell, cells)
    return [other for other in cells if (other.card.cell.iterative or other is cell) and other not in cheaper]


def _transfer(cell: _Cell, row: _Row) -> Check | None:
    white, black = row.end_to_end, [other for other in row.cells if other.transfer]
    if not white or not black:
        return None
    card = cell.card
    return transfer_check(won_over(white, black), card.cell.n, gradient=card.training.gradient)


def _dearer(cell: _Cell, row: _Row) -> Check | None:
    if cell.transfer or cell.card.cell.threat.access == "black-box":
        return None
    rivals, beside = _cheaper(cell, row.end_to_end), _without_cheaper(cell, row.end_to_end)
    if not rivals:
        return None
    won = {rival.card.cell.attack.name: won_over(beside, [rival]) for rival in rivals}
    return dearer_check(won, cell.card.cell.attack.name, cell.card.cell.n)


def _one_step(cell: _Cell, row: _Row) -> Check | None:
    if cell.transfer or not cell.card.cell.iterative:
        return None
    climbers = _iterative(row.end_to_end)
    steps = [
        other
        for other in row.end_to_end
        if not other.card.cell.iterative and other.card.cell.threat.access == "white-box"
    ]
    won, n = max((won_over(climbers, [step]) for step in steps), default=0), cell.card.cell.n
    if not won:
        return None
    return one_step_check(won, n, n, n, won, cell.card.cell.attack.name)


def _falls(one: Check, cell: _Cell, undefended: Sequence[_Cell]) -> Check:
    same = [other for other in undefended if _key(other.card.cell.attack) == _key(cell.card.cell.attack)]
    if not same:
        return one
    control = min(same, key=lambda other: other.card.id)
    beside = any(other.fell for other in undefended if other.row == control.row and other is not control)
    counts = control.clean.bit_count(), control.robust.bit_count()
    name = cell.card.cell.attack.name
    return falls_check(name, *counts, control.card.cell.n, works=control.fell, beside=beside)


def _declared(cell: _Cell, row: _Row) -> Check:
    training = cell.card.training
    through = [other for other in row.end_to_end if not other.card.cell.made_elsewhere]
    return declared_check(
        training.gradient,
        cell.card.robust.draws if training.randomized else None,
        undefended=cell.card.cell.undefended,
        asked=any(other.card.cell.threat.access == "black-box" for other in through),
        through=bool(through),
        static=any(other.card.cell.surrogate_is_victim for other in row.cells),
    )


def won_over(stood: Sequence[_Cell], others: Sequence[_Cell]) -> int:
    """Return how many images stand under all of ``stood`` and fall under one of ``others``, beyond chance."""
    won = standing(stood) & ~standing(others)
    draws = stood[0].card.robust.draws
    if draws == 1:
        return won.bit_count()
    least = [[min(hits) for hits in zip(*map(_hits, cells), strict=True)] for cells in (stood, others)]
    surely = [a - b >= CHANCE * math.sqrt(draws / 2) for a, b in zip(*least, strict=True)]
    return (won & _number(surely)).bit_count()


def _hits(cell: _Cell) -> Sequence[int]:
    outcome = cell.card.robust
    return [flag * outcome.draws for flag in outcome.mask()] if outcome.hits is None else outcome.hits


def _of(cell: _Cell, name: str) -> Check | None:
    return next((one for one in cell.card.gate.checks if one.name == name), None)


def _fault(one: Check) -> int:
    """Return how bad a check is; that it passed, or was not needed, is the same."""
    return max(_SEVERITY.index(one.status), 1)


def _worse(first: Check, second: Check) -> Check:
    return second if _fault(second) > _fault(first) else first


def _key(part: ComponentRecord) -> Any:
    return [part.name, part.version, dict(sorted(part.parameters.items()))]


def _number(flags: Iterable[bool]) -> int:
    return int("".join("1" if flag else "0" for flag in flags) or "0", 2)
