"""How many images a probe may take, so that the gate costs no more than its level allows. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import nn

    from robench.gate.level import Level

#: How much of what the gate may spend on a cell goes to the defended victim; the rest goes to the attack.
MODEL_SHARE = 0.65
#: Passes that the gate may always spend on a cell, since a level that tries nothing finds nothing; and the most that it
#: ever spends beyond its level for that, as a multiple of the cell's own.
FEWEST, MOST = 180, 1.5


class Part(NamedTuple):
    """Say what one probe may take.

    Attributes:
        share: of the budget; a probe of few images may take more, if it is still there.
        least: the fewest images that tell anything: where they do not fit, none is tried.
    """

    share: float
    least: int


#: What is tried on a defended victim, and on an attack. What is tried last gets what is left.
OF_MODEL: Mapping[str, Part] = {
    "answers": Part(0.10, 1),
    "path": Part(0.04, 2),
    "leads": Part(0.10, 4),
    "gradients": Part(0.20, 3),
    "flat": Part(0.10, 1),
    "unseen": Part(0.08, 8),
    "beside": Part(0.05, 11),
    "one step": Part(0.08, 2),
    "short steps": Part(0.08, 1),
    "stronger": Part(0.40, 2),
    "tiles": Part(0.18, 2),
    "noise": Part(0.08, 2),
    "queries": Part(0.07, 1),
    "landscape": Part(0.05, 2),
}
OF_ATTACK: Mapping[str, Part] = {
    "identity": Part(0.12, 1),
    "trace": Part(0.25, 2),
    "robust": Part(0.15, 4),
    "sweep": Part(0.10, 3),
    "again": Part(0.10, 2),
    "double": Part(0.12, 2),
    "binarization": Part(0.10, 1),
    "moved": Part(0.30, 4),
    "own universal": Part(0.60, 8),
    "asked anew": Part(0.30, 1),
    "rescored": Part(0.12, 2),
    "clean again": Part(0.10, 2),
}
#: What is asked of an attack at the end, on at most so many images, and is set aside for until then.
AT_THE_END, ASKED_AGAIN = ("rescored", "clean again"), 64


class Exhausted(BaseException):  # no error, and no attack may take it for one
    """End an attack that has used the passes that the gate may spend."""


def limit(own: float, level: Level) -> float | None:
    """Return the most passes that the gate may add to ``own``; None is no limit."""
    return None if level.cost is None else max(own * level.cost, min(FEWEST, own * MOST))


class PassBudget:
    """Deal out the passes that the gate may spend on one cell's attack, or on one defended victim.

    What was spent is counted, not estimated: a probe gets no more images than fit into what is left, so that all probes
    together stay within the budget.

    Attributes:
        passes: how many may be spent; None is no limit. ``price`` is what one answer costs.
        spent: returns how many have been.
        beyond: by probe that did not fit, the share of the cell's own passes (``--gate-cost``) with which it would.
    """

    def __init__(self, own: float, level: Level, share: float, parts: Mapping[str, Part], price: int = 1) -> None:
        most = limit(own, level)
        self.own = max(own, 1)
        self.share = share
        self.parts = parts
        self.passes = None if most is None else most * share
        self.spent: Callable[[], float] = lambda: 0
        self.beyond: dict[str, float] = {}
        # One answer to each stored image, and of two models one to each clean image.
        aside = sum(parts[name].share for name in AT_THE_END if name in parts) * (self.passes or 0)
        self._aside = min(aside, 3 * ASKED_AGAIN * price)

    @property
    def left(self) -> float:
        """Return how many passes are left before what is asked at the end."""
        return float("inf") if self.passes is None else self.passes - self._aside - self.spent()

    def part(self, probe: str) -> float:
        """Return the passes that are this probe's own."""
        return float("inf") if self.passes is None else self.parts[probe].share * self.passes

    def images(self, probe: str, cost: float, wanted: int) -> int:
        """Return how many of ``wanted`` images, of ``cost`` passes each at most, a probe may take.

        As many as its part pays for, at least the fewest that tell anything, and none if those can no longer be paid:
        what they would have taken is then noted.
        """
        if self.passes is None:
            return wanted
        if probe in AT_THE_END:
            self._aside = 0.0
        cost, least = max(cost, 1), min(self.parts[probe].least, wanted)
        found = min(wanted, max(least, int(self.part(probe) / cost)), int(max(self.left, 0) / cost))
        if found >= least:
            return found
        self.beyond[probe] = round(least * cost / (self.parts[probe].share * self.share * self.own), 3)
        return 0

    @contextmanager
    def stopping(self, model: nn.Module) -> Iterator[None]:
        """Raise :class:`Exhausted` inside, before a forward through ``model`` for which no passes are left."""
        if self.passes is None:
            yield
            return

        def look(_module: Any, _inputs: Any) -> None:
            if self.left <= 0:
                raise Exhausted

        handle = model.register_forward_pre_hook(look)
        try:
            yield
        finally:
            handle.remove()
