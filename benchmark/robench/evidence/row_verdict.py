"""Judge the cards of one defended victim together, from whatever runs they come; no torch, no component is loaded.

A card holds the verdict of the run that wrote it, which saw the cells of that run. Here the checks that compare cells
are made again over all cards that are present. What a run found is taken back only as far as other attacks of the row
explain it: each image that they win lowers the count by one. So a weak attack that ran alone accuses nobody once a
stronger one is there, and leaving out a card that accuses acquits nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from robench.evidence.card import Card, Check, Verdict
from robench.evidence.check_verdict import NOT_APPLICABLE
from robench.evidence.compound_rules import FALLS, STANDS
from robench.evidence.cross_cell_checks import DEARER, DECLARED, ONE_STEP, TRANSFER
from robench.evidence.gate_consistency import verdict_of
from robench.evidence.row_cells import IMPRESSIONS, PROBES, DefendedRow, RowCell, check_of
from robench.evidence.row_certificates import stands_over
from robench.evidence.row_comparisons import dearer_over, declared_over, falls_over, one_step_over, transfer_over
from robench.evidence.row_explanations import explained, fault_of, probed


def judge_together(cards: Iterable[Card]) -> list[Card]:
    """Return the cards in their order, each with the checks that compare cells made over all of these cards.

    Give it cards as they were recorded: what other attacks explain is taken off what a run found.
    """
    found = [RowCell(card) for card in cards]
    rows: dict[str, list[RowCell]] = defaultdict(list)
    undefended: dict[str, list[RowCell]] = defaultdict(list)
    weights: dict[str, list[RowCell]] = defaultdict(list)
    for cell in found:
        rows[cell.row].append(cell)
        weights[cell.weights].append(cell)
        if cell.card.cell.undefended and not cell.transfer:
            undefended[cell.victim].append(cell)
    judged = {key: DefendedRow(sorted(cells, key=lambda cell: cell.card.id)) for key, cells in rows.items()}
    stands = {key: stands_over(cells, weights[cells[0].weights]) for key, cells in rows.items()}
    return [_judged(cell, judged[cell.row], undefended[cell.victim], stands[cell.row]) for cell in found]


def _judged(cell: RowCell, row: DefendedRow, undefended: Sequence[RowCell], stands: Check | None) -> Card:
    gate = cell.card.gate
    checks = [_again(one, cell, row, undefended) for one in gate.checks if one.name != STANDS]
    checks += _certified(check_of(cell, STANDS), stands)
    if checks == gate.checks:
        return cell.card
    # A verdict that its own checks do not explain is not taken back.
    stated: Verdict = gate.verdict if gate.verdict != verdict_of(gate.checks) else "VALID"
    verdict = max(stated, verdict_of(checks), key=("VALID", "SUSPECT", "INVALID").index)
    return msgspec.structs.replace(cell.card, gate=msgspec.structs.replace(gate, checks=checks, verdict=verdict))


def _certified(own: Check | None, over: Check | None) -> list[Check]:
    """Return the check of certified images: the worse of what the run found and of what all cards say."""
    if own is None:
        # A card without certificates stands in a row with one: it says nothing, unless one of them is wrong.
        return [over] if over is not None and over.status == "invalid" else []
    return [own if over is None else _worse(own, over)]


def _again(one: Check, cell: RowCell, row: DefendedRow, undefended: Sequence[RowCell]) -> Check:
    """Return the check as it stands beside all cards of the row."""
    if cell.card.cell.weakness and one.status == "skipped" and one.meaning.startswith(NOT_APPLICABLE):
        return one  # an attack that speaks for no row is not held to what it does not claim
    if one.name in PROBES:
        return probed(one.name, row) or one
    if one.name in IMPRESSIONS:
        return check_of(row.strongest.cells[0], one.name) or one
    if one.name == FALLS and (one.figures or one.status == "suspect"):
        return falls_over(one, cell, undefended)
    if one.name == DECLARED and one.status == "suspect":
        return declared_over(cell, row)
    compare: dict[str, Callable[[RowCell, DefendedRow], Check | None]] = {
        TRANSFER: transfer_over,
        DEARER: dearer_over,
        ONE_STEP: one_step_over,
    }
    if one.name not in compare:
        return one
    made = compare[one.name](cell, row)
    return explained(one, cell, row) if made is None else _worse(made, explained(one, cell, row))


def _worse(first: Check, second: Check) -> Check:
    return second if fault_of(second) > fault_of(first) else first
