"""Seeded, stratified orders from which the built-in datasets cut their splits."""

from __future__ import annotations

import random
from collections.abc import Sequence


def shuffled_classes(labels: Sequence[int], seed: int) -> list[list[int]]:
    """Return the positions of each class in label order, each class in an order drawn from ``seed``.

    Python's own generator is specified: the same seed gives the same order under every torch and NumPy.
    """
    positions: list[list[int]] = [[] for _ in range(max(labels) + 1)]
    for position, label in enumerate(labels):
        positions[label].append(position)
    for label, members in enumerate(positions):
        random.Random(f"{seed}/{label}").shuffle(members)
    return positions


def stratified_order(labels: Sequence[int], seed: int) -> list[int]:
    """Return every position once, such that each stretch of the order holds the classes in proportion."""
    ranked = [
        ((rank + 0.5) / len(members), label, position)
        for label, members in enumerate(shuffled_classes(labels, seed))
        for rank, position in enumerate(members)
    ]
    return [position for _, _, position in sorted(ranked)]


def share_of(labels: Sequence[int], split: str, test: float, val: float, seed: int) -> list[int]:
    """Return the sorted positions of one split, cut from each class by its share for test and for val."""
    rows: list[int] = []
    for members in shuffled_classes(labels, seed):
        first, second = _counts(len(members), test, min(val, 1 - test))
        parts = {"test": members[:first], "val": members[first : first + second]}
        rows += parts.get(split, members[first + second :])
    return sorted(rows)


def _counts(images: int, test: float, val: float) -> tuple[int, int]:
    """Return how many of a class's images go to test and val: its share, but one at least of all that was asked."""
    left = 1 if test + val < 1 else 0
    first = min(max(round(test * images), 1), images - left) if test else 0
    second = min(max(round(val * images), 1), images - left - first) if val else 0
    return first, images - first if not left and val else second
