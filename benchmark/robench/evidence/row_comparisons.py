"""The checks that compare cells, made over all cards of a row that are present; None where nothing can be compared."""

from __future__ import annotations

from collections.abc import Sequence

from robench.evidence.card import Check
from robench.evidence.compound_rules import FALLS, fell
from robench.evidence.cross_cell_checks import (
    dearer_check,
    declared_check,
    falls_check,
    one_step_check,
    transfer_check,
)
from robench.evidence.row_cells import (
    DefendedRow,
    RowCell,
    cheaper,
    check_of,
    iterative,
    key_of_part,
    without_cheaper,
    won_over,
)


def transfer_over(cell: RowCell, row: DefendedRow) -> Check | None:
    """Return what images crafted on other models say of the attacks through the defended victim."""
    white, black = row.end_to_end, [other for other in row.cells if other.transfer]
    if not white or not black:
        return None
    card = cell.card
    return transfer_check(won_over(white, black), card.cell.n, gradient=card.training.gradient)


def dearer_over(cell: RowCell, row: DefendedRow) -> Check | None:
    """Return what much cheaper attacks say of a dear one."""
    if cell.transfer or cell.card.cell.threat.access == "black-box":
        return None
    rivals, beside = cheaper(cell, row.end_to_end), without_cheaper(cell, row.end_to_end)
    if not rivals:
        return None
    won = {rival.card.cell.attack.name: won_over(beside, [rival]) for rival in rivals}
    return dearer_check(won, cell.card.cell.attack.name, cell.card.cell.n)


def one_step_over(cell: RowCell, row: DefendedRow) -> Check | None:
    """Return what attacks of a single step say of one of many."""
    if cell.transfer or not cell.card.cell.iterative:
        return None
    climbers = iterative(row.end_to_end)
    steps = [
        other
        for other in row.end_to_end
        if not other.card.cell.iterative and other.card.cell.threat.access == "white-box"
    ]
    won, n = max((won_over(climbers, [step]) for step in steps), default=0), cell.card.cell.n
    if not won:
        return None
    return one_step_check(won, n, n, n, won, cell.card.cell.attack.name)


def falls_over(one: Check, cell: RowCell, undefended: Sequence[RowCell]) -> Check:
    """Return what the cards of the undefended victim say of the attack, whatever was known of it in the card's run."""
    same = [other for other in undefended if key_of_part(other.card.cell.attack) == key_of_part(cell.card.cell.attack)]
    if not same:
        return one
    control = min(same, key=lambda other: other.card.id)
    others = any(fell(*other.changed) for other in undefended if other.row == control.row and other is not control)
    own = check_of(control, FALLS)
    known = own.figures if own else {}
    swept = {name: known[name] for name in sorted({"swept", "unbounded"} & set(known))}
    lost, gained = control.changed
    counts = {"control": control.clean.bit_count(), "lost": lost, "gained": gained, "of": control.card.cell.n}
    return falls_check(cell.card.cell.attack.name, {**counts, "others": others, **swept})


def declared_over(cell: RowCell, row: DefendedRow) -> Check:
    """Return what was evaluated of what counts for the declared kind of gradient."""
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
