"""Place a row that met fewer attacks below those that met more and did no worse under the attacks of both."""

from __future__ import annotations

from collections.abc import Sequence

from robench_leaderboard.ranking.row import Row


def fewer_attacks_below(rows: Sequence[Row]) -> list[Row]:
    """Return ranked rows, best first, in the order in which they may stand; ``missing`` must be filled in.

    A worst case over fewer attacks flatters. So a row stands above one that met all its attacks and more only if it is
    better under the attacks that both met. Rows of which each met an attack that the other did not keep their order.
    """
    above = [[_stands_above(other, row) for other in rows] for row in rows]
    order: list[int] = []
    waiting = list(range(len(rows)))
    while waiting:
        # Somebody is always free: whoever stands above another by this rule misses fewer attacks.
        free = next(place for place in waiting if not any(above[place][other] for other in waiting))
        waiting.remove(free)
        order.append(free)
    return [rows[place] for place in order]


def _stands_above(more: Row, fewer: Row) -> bool:
    if not set(more.missing) < set(fewer.missing):
        return False
    met = {attack.description for attack in fewer.attacks}
    shared = more.mask_under(met)
    return fewer.mask is not None and shared is not None and sum(shared) >= sum(fewer.mask)
