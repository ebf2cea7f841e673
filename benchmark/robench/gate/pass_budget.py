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
