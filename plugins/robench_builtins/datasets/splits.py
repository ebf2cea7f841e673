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
