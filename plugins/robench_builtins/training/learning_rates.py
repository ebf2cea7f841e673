"""Learning rates that depend on the update's number alone, so that a resumed fit needs no more state."""

from __future__ import annotations

import math
from collections.abc import Sequence


def rate_factor(schedule: str, warmup: float, step: int, steps: int, decays: Sequence[float] = ()) -> float:
    """Return the learning rate of update ``step`` of ``steps`` as a part of its peak.

    onecycle is torch's OneCycleLR (from 1/25 to 1 to 1/250,000, both by cosine); cosine is linear warm-up,
    then cosine to 0, as in TeCoA's code; triangular is torch's CyclicLR of one cycle from and to 0, as in the
    code of Wong et al.; step is a tenth after each part of the updates in ``decays``.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "step":
        return 0.1 ** sum(step >= part * steps for part in decays)
    if schedule == "triangular":
        return _triangular(warmup, step / steps)
    if schedule == "cosine":
        rise = round(warmup * steps)
        if step < rise:
            return (step + 1) / rise
        return _cosine(1.0, 0.0, (step - rise) / (steps - rise))
    return _onecycle(warmup, step, steps)


def constant(step: int, steps: int) -> float:
    """Return 1, whatever the update."""
    return 1.0


def half_cosine(step: int, steps: int) -> float:
    """Return half a cosine from 1 to 0: cosine without warm-up, in another order of rounding, which old weights had."""
    return (1 + math.cos(math.pi * step / steps)) / 2


def _triangular(warmup: float, part: float) -> float:
    return part / warmup if part < warmup else (1 - part) / (1 - warmup)


def _onecycle(warmup: float, step: int, steps: int) -> float:
    start, peak = 1 / 25, warmup * steps - 1
    if step < peak:
        return _cosine(start, 1.0, step / peak)
    peak = max(peak, 0.0)
    return _cosine(1.0, start / 1e4, (step - peak) / max(steps - 1 - peak, 1.0))


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * part))
