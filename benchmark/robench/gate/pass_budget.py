"""How many images a probe may take, so that the gate costs no more than its level allows. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robench.gate.level import Level


class PassBudget:
    """Deal out the passes that the gate may spend on one cell, or on one defended victim."""

    def __init__(self, own: int, level: Level, share: float) -> None:
        self.passes = None if level.cost is None else own * level.cost * share

    def images(self, part: float, cost: float, wanted: int, least: int = 2) -> int:
        """Return how many of ``wanted`` images a probe of ``cost`` passes each may take from its part of the budget."""
        if self.passes is None:
            return wanted
        return max(min(least, wanted), min(wanted, int(part * self.passes / max(cost, 1))))

    def attacked(self, part: float, cost: float, wanted: int, least: int = 2) -> int:
        """Return the same for a probe that runs an attack: none, where the fewest would cost more than this budget."""
        if self.passes is not None and min(least, wanted) * cost > self.passes:
            least = 0
        return self.images(part, cost, wanted, least)

    def allowed(self, part: float, cost: float) -> float:
        """Return the passes after which an attack that may take ``cost`` of them is stopped.

        One whose cost fits into the whole of this budget is never stopped.
        """
        if self.passes is None or cost <= self.passes:
            return float("inf")
        return part * self.passes
