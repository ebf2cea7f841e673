"""How each model cuts an image into patches, and what it looks for in one: two pictures a defended victim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robench.evidence.patch_embedding import Embedding
from robench_leaderboard.render.formatting import title
from robench_leaderboard.report.pictures import address, colours, heat_colours
from robench_leaderboard.report.report_data import Report

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

#: Defended victims whose patches are shown, in the order of the table.
MOST_SHOWN = 40
#: Longest side of such a picture; small ones are magnified by a whole number up to it.
SIDE = 420
#: Filters in a row of their picture: 28 are four rows of seven.
ACROSS = 7


@dataclass(frozen=True)
class ShownEmbedding:
    """Be one defended victim's patch embedding as the page shows it: two ``data:`` addresses and the numbers."""

    name: str
    index: int
    label: str
    embedding: Embedding
    patches: str
    filters: str
    tokens: str

    @property
    def heading(self) -> str:
        """Return what the heat map of the tokens shows, such as ``101 tokens (1 beside the patches) of 64 values``."""
        count, width = (0, 0) if self.embedding.tokens is None else self.embedding.tokens.shape
        down, across = self.embedding.grid
        more = count - down * across
        return f"{count:,} tokens{f' ({more} beside the patches)' if more else ''} of {width:,} values"

    @property
    def counted(self) -> str:
        """Return how many patches of which size, such as ``100 patches (10 x 10) of 8 x 8 pixels``."""
        down, across = self.embedding.grid
        kernel, stride = self.embedding.kernel, self.embedding.stride
        apart = "side by side" if kernel == stride else f"one every {stride} pixels, so that they overlap"
        count = f"{down * across:,} {'patch' if down * across == 1 else 'patches'}"
        return f"{count} ({down} x {across}) of {kernel} x {kernel} pixels, {apart}"


def shown_embeddings(report: Report) -> Iterator[ShownEmbedding]:
    """Yield each defended victim's patches once, whatever it was attacked with; those that were trained anew again."""
    seen: set[tuple[str, str, str]] = set()
    for _, row in report.rows:
        for attack in row.attacks:
            card, gallery = attack.card, report.galleries.get(attack.card.id)
            key = (row.victim, row.defense, card.model.defended)
            if gallery is None or gallery.embedding is None or key in seen:
                continue
            if len(seen) == MOST_SHOWN:
                return
            seen.add(key)
            first, embedding = gallery.pictures[0], gallery.embedding
            yield ShownEmbedding(
                name=f"{report.brief(row.victim)}, {title(row)}",
                index=first.index,
                label=card.data.classes[first.label],
                embedding=embedding,
                patches=_address(patch_picture(embedding)),
                filters=_address(filter_picture(embedding.filters)),
                tokens="" if embedding.tokens is None else _address(token_picture(embedding.tokens)),
            )


def patch_picture(embedding: Embedding) -> Array:
    """Return the image as uint8 (H, W, 3), its patches drawn apart on white; what two of them share is in both."""
    down, across = embedding.grid
    patches = [[colours(embedding.patch(row, column)) for column in range(across)] for row in range(down)]
    return _grid(patches, max(1, embedding.kernel // 8))


def filter_picture(filters: Array) -> Array:
    """Return the filters (K, C, k, k) in rows as uint8 (H, W, 3), on white."""
    tiles = [colours(one) for one in filters]
    return _grid([tiles[start : start + ACROSS] for start in range(0, len(tiles), ACROSS)], max(1, len(tiles[0]) // 8))


def token_picture(tokens: Array) -> Array:
    """Return tokens (T, D) in [0, 1] as a heat map (D, T, 3) of uint8: a column a token, a row a feature."""
    return heat_colours(tokens.T)


def _grid(rows: list[list[Array]], gap: int) -> Array:
    import numpy as np

    side, across = len(rows[0][0]), len(rows[0])
    paper = np.full((len(rows) * (side + gap) - gap, across * (side + gap) - gap, 3), 255, dtype=np.uint8)
    for place, row in enumerate(rows):
        for column, tile in enumerate(row):
            top, left = place * (side + gap), column * (side + gap)
            paper[top : top + side, left : left + side] = tile
    return paper


def _address(pixels: Array) -> str:
    times = max(1, SIDE // max(pixels.shape[:2]))
    return address(pixels.repeat(times, axis=0).repeat(times, axis=1), side=SIDE)
