"""Chunks of an adversarial set that are crafted together, so that batches larger than a chunk are full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

from torch import Tensor

from robench.evidence.fingerprint import CHUNK

#: Batches' worth of images that are held at most, where few of them are worth attacking.
HELD = 4


def groups(
    starts: Sequence[int], worth_attacking: Tensor | None, batch_size: int, chunk: int = CHUNK, most: int | None = None
) -> list[list[int]]:
    """Return chunks, by their first image, in groups of at most ``batch_size`` images that are worth attacking.

    A batch that fits into a chunk leaves every chunk by itself. With the others a group has ``most`` images or a chunk
    more; None is ``HELD`` batches.
    """
    most = HELD * batch_size if most is None else most
    if batch_size <= chunk:
        return [[start] for start in starts]
    found: list[list[int]] = [[]]
    count = 0
    for start in starts:
        own = chunk if worth_attacking is None else int(worth_attacking[start : start + chunk].sum())
        if count + own > batch_size or len(found[-1]) * chunk >= most:
            found.append([])
            count = 0
        found[-1].append(start)
        count += own
    return [group for group in found if group]


def by_part(places: Sequence[int], lengths: Sequence[int]) -> Iterator[tuple[int, slice]]:
    """Yield each part and its share of ordered places, in parts of these lengths that lie one behind another."""
    first = 0
    for part, end in enumerate(accumulate(lengths)):
        last = first
        while last < len(places) and places[last] < end:
            last += 1
        if last > first:
            yield part, slice(first, last)
        first = last


def shared(state: dict[str, Any], attacked: Sequence[int]) -> list[dict[str, Any]]:
    """Return the figures of a meter for each of several chunks, by the images attacked in it; their sums are exact."""
    if len(attacked) == 1:
        return [state]
    weights = attacked if sum(attacked) else [1] * len(attacked)
    shares = [end / sum(weights) for end in accumulate([0, *weights])]

    def divided(name: str) -> list[int]:
        return [after - before for before, after in pairwise(round(state[name] * share) for share in shares)]

    forwards, backwards, figures = divided("forwards"), divided("backwards"), []
    for place, (before, after) in enumerate(pairwise(shares)):
        joules = None if state["joules"] is None else state["joules"] * (after - before)
        own = {"images": attacked[place], "forwards": forwards[place], "backwards": backwards[place]}
        figures.append({**state, **own, "seconds": state["seconds"] * (after - before), "joules": joules})
    return figures
