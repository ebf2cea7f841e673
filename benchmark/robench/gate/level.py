"""How hard the gate tries: which probes run, on how many images, for how many passes. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from robench.errors import SpecError, suggestion

if TYPE_CHECKING:
    from robench.attacks.losses import Loss

#: The level that is used when none is named.
DEFAULT_LEVEL = "standard"


@dataclass(frozen=True, kw_only=True)
class Level:
    """State the effort of one level.

    Attributes:
        name: ``quick``, ``standard`` or ``thorough``.
        images: the most images that a dear probe takes, drawn by the seed from those still standing.
        cost: the most passes (forwards + backwards) that the gate may add, as a share of the cell's own; None is no
            limit. A few passes are always there (``pass_budget.limit``), so a cell of very few images can cost more.
        steps: gradient steps of the gate's own APGD; fewer where so many are dearer than its part of the passes.
        losses: what it climbs, one run each; likewise.
        tiles: rounds of the gate's own tile search; 0 leaves it out.
        queries: queries of the gate's own random search; 0 leaves it out.
        draws: random points in the ball per image; 0 leaves them out.
        landscape: draws per image for the stability of the loss; 0 leaves it out.
        sweep: run the cell's own attack again at other radii, without bounds, with another seed, with twice the steps.
        binarization: images of the binarization test; 0 leaves it out.
    """

    name: str
    images: int
    cost: float | None
    steps: int
    losses: tuple[Loss, ...]
    tiles: int
    queries: int
    draws: int
    landscape: int
    sweep: bool
    binarization: int


LEVELS = {
    level.name: level
    for level in (
        Level(
            name="quick",
            images=32,
            cost=0.15,
            steps=10,
            losses=("margin",),
            tiles=0,
            queries=0,
            draws=0,
            landscape=0,
            sweep=False,
            binarization=0,
        ),
        Level(
            name="standard",
            images=64,
            cost=1.0,
            steps=40,
            losses=("ce-scaled", "margin"),
            tiles=1,
            queries=150,
            draws=20,
            landscape=10,
            sweep=True,
            binarization=0,
        ),
        Level(
            name="thorough",
            images=128,
            cost=None,
            steps=100,
            losses=("ce-scaled", "margin", "dlr"),
            tiles=3,
            queries=2000,
            draws=1000,
            landscape=100,
            sweep=True,
            binarization=32,
        ),
    )
}


def level_of(name: str = DEFAULT_LEVEL, images: int | None = None, cost: float | None = None) -> Level:
    """Return a level by name, with another subset size or another share of passes where they are given."""
    if name not in LEVELS:
        raise SpecError(f"--gate {name} is unknown; {suggestion(name, LEVELS)}")
    if images is not None and images < 1:
        raise SpecError(f"--gate-images {images} leaves the gate nothing to try; give at least 1.")
    if cost is not None and not 0 < cost < float("inf"):
        raise SpecError(f"--gate-cost {cost:g} is no share of the cell's own passes; give a number above 0, such as 1.")
    level = LEVELS[name]
    if images is not None:
        level = replace(level, images=images)
    return level if cost is None else replace(level, cost=cost)
