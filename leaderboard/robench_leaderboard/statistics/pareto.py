"""The Pareto front of cost and benefit."""

from __future__ import annotations

from collections.abc import Iterable


def front(points: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return the points (cost, benefit) that no other is at least as good as in both, and better in one."""
    best, corners = float("-inf"), []
    for cost, benefit in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if benefit > best:
            corners.append((cost, benefit))
            best = benefit
    return tuple(corners)
