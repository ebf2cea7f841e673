"""Make examples out of other examples: other labels, a part of the images, or copies turned and flipped."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import torch
from torch import Tensor

from robench import DataError, Examples, StoredImage
from robench_builtins.datasets.shared.stratified_splits import shuffled_classes

#: Ways to turn a picture: k quarter turns, mirrored after that from 4 on. 0 leaves it as it is.
SQUARE = (0, 1, 2, 3, 4, 5, 6, 7)
#: Those that keep the sides of a picture that is not square.
OBLONG = (0, 2, 4, 6)


def derived(base: Examples, rows: Sequence[int], labels: Sequence[int], turns: Sequence[int] = ()) -> Examples:
    """Serve image ``rows[i]`` of ``base``, turned by ``turns[i]``, with label ``labels[i]``."""
    turned = list(turns) or [0] * len(rows)

    def fetch(places: Sequence[int]) -> Tensor:
        images = base[[rows[place] for place in places]].images()
        return torch.stack([turn(image, turned[place]) for image, place in zip(images, places, strict=True)])

    def digest(places: Sequence[int]) -> bytes:
        chosen = [rows[place] for place in places]
        text = f"{base[chosen].fingerprint} {[turned[place] for place in places]}"
        return hashlib.sha256(text.encode()).digest()

    def describe(place: int) -> StoredImage | None:
        return base.stored(rows[place])

    return Examples(torch.tensor(labels, dtype=torch.long), base.shape, fetch, digest, describe=describe)


def turn(image: Tensor, way: int) -> Tensor:
    """Return ``image`` (C, H, W) turned by ``way % 4`` quarters to the left, then mirrored if ``way`` is 4 or more."""
    image = image.rot90(way % 4, (1, 2))
    return image.flip(2) if way >= 4 else image


def balanced(base: Examples, count: int, seed: int, name: str, classes: Sequence[str]) -> Examples:
    """Serve ``count`` images a class: the originals, then copies of them turned and mirrored, no two alike.

    Of a class with more, ``count`` are drawn. Every original has one copy before any has two; which turn a copy has
    is drawn from ``seed``.
    """
    labels = base.labels.tolist()
    ways = SQUARE if base.shape[1] == base.shape[2] else OBLONG
    chosen: list[tuple[int, int, int]] = []
    for label, members in enumerate(shuffled_classes(labels, seed)):
        if members and len(members) * len(ways) < count:
            raise DataError(
                f"{name} has {len(members)} train images of '{classes[label]}', which turned and mirrored give "
                f"{len(members) * len(ways)}, fewer than balance={count}; lower -p dataset.balance."
            )
        chance = random.Random(f"{seed}/{label}/turns")
        orders = {row: chance.sample(ways[1:], len(ways) - 1) for row in members}
        for place in range(count if members else 0):
            repeat, member = divmod(place, len(members))
            row = members[member]
            chosen.append((row, label, orders[row][repeat - 1] if repeat else 0))
    rows, kinds, turns = ([entry[column] for entry in chosen] for column in range(3))
    return derived(base, rows, kinds, turns)
