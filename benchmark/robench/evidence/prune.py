"""Choose which objects of a store may go: by kind, by age and by size, and never what a card refers to."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from robench.evidence.stored_objects import StoredObject


@dataclass(frozen=True)
class Wish:
    """Say what may go.

    Attributes:
        kinds: only objects of these kinds; empty is any.
        unused: only objects that were not used for so many seconds; None is any.
        most: only until the store has so many bytes, the longest unused first; None is until nothing is left to go.
    """

    kinds: frozenset[str] = frozenset()
    unused: float | None = None
    most: int | None = None


@dataclass(frozen=True)
class Choice:
    """Hold what goes, what would go if no card referred to it, and the bytes that stay."""

    gone: tuple[StoredObject, ...]
    spared: tuple[StoredObject, ...]
    left: int


def choose(objects: Iterable[StoredObject], referred: Collection[Path], wish: Wish, now: float) -> Choice:
    """Return what of ``objects`` goes; ``referred`` are the places of those that must stay."""
    listed = sorted(objects, key=lambda each: (each.used, each.kind, each.key))
    left = sum(each.size for each in listed)
    gone, spared = list[StoredObject](), list[StoredObject]()
    for each in listed:
        if wish.kinds and each.kind not in wish.kinds:
            continue
        if wish.unused is not None and now - each.used < wish.unused:
            continue
        if wish.most is not None and left <= wish.most:
            break
        if each.path in referred:
            spared.append(each)
            continue
        gone.append(each)
        left -= each.size
    return Choice(tuple(gone), tuple(spared), left)
