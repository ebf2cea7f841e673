"""What of a library's stated preprocessing robench can take over."""

from __future__ import annotations

from collections.abc import Sequence

from robench import WeightsError

#: The interpolations that torch computes as PIL does.
SMOOTH = ("bilinear", "bicubic")


def smooth(place: str, stated: str, asked: str) -> str:
    """Return the interpolation to use: what the user ``asked`` for, or else the ``stated`` one if torch has it."""
    if asked in SMOOTH:
        return asked
    if stated not in SMOOTH:
        raise WeightsError(
            f"{place} is prepared with {stated} interpolation, which has no differentiable counterpart here; add -p "
            "victim.interpolation=bicubic (or bilinear) to use that instead."
        )
    return stated


def square(place: str, sides: Sequence[int]) -> int:
    """Return the side of a square; WeightsError if it is none."""
    if len(set(sides)) != 1:
        raise WeightsError(
            f"{place} takes images of {' x '.join(map(str, sides))}; robench resizes to squares; give one side with "
            "-p victim.resolution=PIXELS, or wrap the model in a function of your own and write FILE.py:NAME."
        )
    return int(sides[0])
