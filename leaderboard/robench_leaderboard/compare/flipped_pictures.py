"""The images that flipped between two cards or rows, as far as the galleries beside the cards kept them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robench.evidence.card import Card
from robench.evidence.gallery import Gallery, Picture
from robench.evidence.plain_text import plain
from robench_leaderboard.compare.comparison import Pair
from robench_leaderboard.report.pictures import address, colours

#: So many images of a pair are shown.
MOST_SHOWN = 12


@dataclass(frozen=True)
class Tile:
    """Be one picture: what it is, its ``data:`` address (empty: not kept), what was answered, and whether rightly."""

    name: str
    source: str
    answer: str
    right: bool


@dataclass(frozen=True)
class FlippedImage:
    """Be one image that only one of the two got right: clean, and as each of the two was attacked, where it was kept.

    Attributes:
        what: ``lost`` or ``won``, as seen from the second.
    """

    index: int
    label: str
    what: str
    tiles: tuple[Tile, ...]


def flipped_images(pair: Pair, galleries: Mapping[str, Gallery]) -> list[FlippedImage]:
    """Return the images whose robust answer flipped and of which a picture was kept; the lost ones first."""
    found = []
    flips = () if pair.robust is None else (("lost", pair.robust.lost), ("won", pair.robust.won))
    for what, places in flips:
        for index in places:
            kept = [_kept(index, side, galleries) for side in pair.sides]
            if any(kept):
                found.append(_image(index, what, kept))
    return found[:MOST_SHOWN]


Kept = tuple[Card, Picture]


def _kept(index: int, cards: Sequence[Card], galleries: Mapping[str, Gallery]) -> Kept | None:
    """Return a side's picture of an image; of several, one that the attack made wrong."""
    found = [
        (card, picture)
        for card in cards
        if card.id in galleries
        for picture in galleries[card.id].pictures
        if picture.index == index
    ]
    return min(found, key=lambda one: one[1].predictions[1] == one[1].label, default=None)


def _image(index: int, what: str, kept: Sequence[Kept | None]) -> FlippedImage:
    card, picture = next(one for one in kept if one is not None)
    tiles = [Tile("clean", address(colours(picture.clean)), "", True)]
    for side, one in zip(("first", "second"), kept, strict=True):
        if one is None:
            right = (side == "first") == (what == "lost")
            tiles.append(Tile(f"attacked, {side} (no picture kept)", "", "right" if right else "wrong", right))
        else:
            answered, confidence = one[1].predictions[1], one[1].confidence[1]
            said = f"{plain(one[0].data.classes[answered], 40)} {100 * confidence:.0f} %"
            source = address(colours(one[1].adversarial))
            tiles.append(Tile(f"attacked, {side}", source, said, answered == one[1].label))
    return FlippedImage(index, plain(card.data.classes[picture.label], 40), what, tuple(tiles))
