"""What a run found against a row, less what other attacks of the row explain: each image they win lowers the count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from robench.evidence.card import Check, Status
from robench.evidence.check_verdict import INTOLERABLE, TOLERATED, check, confirmed, looked_at, weighed
from robench.evidence.cross_cell_checks import DEARER, ONE_STEP
from robench.evidence.row_cells import PROBES, DefendedRow, RowCell, check_of, iterative, standing, without_cheaper

_SEVERITY: tuple[Status, ...] = ("skipped", "pass", "suspect", "invalid")


def probed(name: str, row: DefendedRow) -> Check | None:
    """Return what a probe says of the row: the worst over its runs, each less what other attacks won since."""
    found = [(explained(one, cell, row), cell) for cell in row.cells if (one := check_of(cell, name))]
    order = {cell.card.id: place for place, cell in enumerate(row.strongest.cells)}
    found.sort(key=lambda pair: (-fault_of(pair[0]), order.get(pair[1].card.id, len(order)), pair[1].card.id))
    return found[0][0] if found else None


def explained(one: Check, cell: RowCell, row: DefendedRow) -> Check:
    """Return a failed count less the images that other attacks of the row win: those it no longer says anything of."""
    since = _won_since(one, cell, row)
    if one.status not in ("suspect", "invalid") or one.value is None:
        return one
    n, left = cell.card.cell.n, row.runs[cell.card.id].standing.bit_count()
    limits = PROBES.get(one.name, (TOLERATED, INTOLERABLE))
    whole = one.name not in PROBES and one.n == n
    among = n if whole else looked_at(min(one.n, left), left, n) if left else 0.0
    mild = one.name == DEARER or (one.name in PROBES and row.one_step_only)
    doubtful = bool(one.figures.get("doubtful")) and row.one_step_only
    enough = min(one.figures.get("enough", 2), 2)
    won = round((one.value - since / n) * among, 4)  # a check's value has nine digits
    status = confirmed(weighed(won, among, limits, "suspect" if mild else "invalid"), won, doubtful, enough)
    if not since:
        return one if status == one.status or one.name not in PROBES else msgspec.structs.replace(one, status=status)
    meaning = (
        f"{one.meaning} Other attacks of the row win {since} more of the images that stood then."
        if status in ("suspect", "invalid")
        else f"Of what was won here, other attacks of the row win all but what is tolerated ({since} images more)."
    )
    return check(one.name, status, max(one.value - since / n, 0.0), one.threshold, one.n, meaning)


def _won_since(one: Check, cell: RowCell, row: DefendedRow) -> int:
    """Return how many images that the check's attacks left standing in the cell's run fall to attacks beside them."""
    if one.name == DEARER:
        select: Callable[[Sequence[RowCell]], list[RowCell]] = partial(without_cheaper, cell)
    elif one.name == ONE_STEP and one.n == cell.card.cell.n:
        select = iterative
    else:
        return row.won_since(cell)
    before, now = (standing(select(part.end_to_end)) for part in (row.runs[cell.card.id], row))
    return before.bit_count() - now.bit_count()


def fault_of(one: Check) -> int:
    """Return how bad a check is; that it passed, or was not needed, is the same."""
    return max(_SEVERITY.index(one.status), 1)
