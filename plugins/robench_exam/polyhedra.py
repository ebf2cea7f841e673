"""The nearest point of a polyhedron, exactly: least distance programming by non-negative least squares."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from robench_exam.ground import Floats

#: By how much a constraint may be missed, against its row's length.
MISSED = 1e-7
#: By how much another class has to lead to do so in float32 too.
LEAD = 2e-3


def nearest(point: Floats, rows: Floats, bounds: Floats) -> Floats | None:
    """Return the point of the box [0, 1] with ``rows @ z >= bounds`` that is nearest in L2; None if there is none.

    Lawson and Hanson 1974, Solving Least Squares Problems, chapter 23: minimise |d| under G d >= h through the
    non-negative least squares problem of [G'; h'] and (0, ..., 0, 1).

    Args:
        point: (D,) in the box.
        rows: (M, D), none of them 0.
        bounds: (M,).

    Raises:
        ArithmeticError: the answer misses a constraint: it was not found exactly.
    """
    size = len(point)
    sides = np.zeros(0, dtype=int)  # those of the box that a solution went beyond: of 2 D few count
    for _ in range(2 * size):
        signs, places = np.where(sides < size, 1.0, -1.0), sides % size
        walls = np.zeros((len(sides), size))
        walls[np.arange(len(sides)), places] = signs
        found = _least_distance(point, np.vstack([rows, walls]), np.append(bounds, np.where(signs > 0, 0.0, -1.0)))
        if found is None:
            return None
        beyond = np.concatenate([found < -MISSED, found > 1 + MISSED])
        if not beyond.any():
            return np.clip(found, 0, 1)
        sides = np.union1d(sides, np.flatnonzero(beyond))
    raise ArithmeticError("the sides of the box were not found")


def _least_distance(point: Floats, rows: Floats, bounds: Floats) -> Floats | None:
    """Return the point with ``rows @ z >= bounds`` nearest to ``point``, inside the box or not."""
    lengths = np.linalg.norm(rows, axis=1)
    matrix, limits = rows / lengths[:, None], (bounds - rows @ point) / lengths
    target = np.zeros(len(point) + 1)
    target[-1] = 1
    weights, residual = nnls(np.vstack([matrix.T, limits]), target, maxiter=100 * len(point))
    if residual < 1e-9:
        return None
    left = np.vstack([matrix.T, limits]) @ weights - target
    change: Floats = -left[:-1] / left[-1]
    if (limits - matrix @ change).max() > MISSED:
        raise ArithmeticError(f"a constraint is missed by {(limits - matrix @ change).max():.1e}")
    return point + change


def _without_constants(rows: Floats, bounds: Floats) -> tuple[Floats, Floats]:
    """Return the constraints without those that hold everywhere; of those that hold nowhere the row is 0."""
    kept = rows.any(1) | (bounds > 0)
    return rows[kept], bounds[kept]


def within(image: Floats, rows: Floats, bounds: Floats, eps: float) -> tuple[float, Floats]:
    """Return by how much ``eps`` exceeds the distance to where ``rows @ z >= bounds``, and the nearest such point.

    0 where float32 could say either: the polyhedron is in reach, and all of it that leads by ``LEAD`` is not.
    """
    rows, bounds = _without_constants(rows, bounds)
    lengths = np.linalg.norm(rows, axis=1)
    if not lengths.all():
        return -1.0, image
    farthest = float(((bounds - rows @ image) / lengths).max())  # of the half spaces whose intersection it is
    if farthest > 1.01 * eps:
        return eps - farthest, image
    point = nearest(image, rows, bounds + LEAD)
    if point is not None and np.linalg.norm(point - image) <= eps:
        return eps - float(np.linalg.norm(point - image)), point
    point = nearest(image, rows, bounds)
    if point is None:
        return -1.0, image
    return min(eps - float(np.linalg.norm(point - image)), 0.0), image
