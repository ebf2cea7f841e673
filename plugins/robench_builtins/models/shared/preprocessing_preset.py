"""The preprocessing that came with published weights, differentiable; imported only where torch is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import nn
from torchvision.transforms.v2 import CenterCrop

from robench import Preprocess, WeightsError

#: The interpolations that torch computes as PIL does.
SMOOTH = ("bilinear", "bicubic")


def preset(
    mean: Sequence[float], std: Sequence[float], resized: int | None, side: int | None, interpolation: str
) -> nn.Module:
    """Return: resize the shorter side to ``resized``, crop the middle ``side``, normalise; None resizes nothing."""
    preprocess = Preprocess(mean, std, resized, cast(Any, interpolation))
    return preprocess if side == resized or side is None else nn.Sequential(preprocess, CenterCrop(side))


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
