"""Copies of photos as report 001 makes them of leaves: cropped, turned, mirrored, recoloured, and with holes.

Pillow does the pixels, through torchvision's v2 functions: they are the same on every processor. Every draw is that of
one copy of one image, so that batches and neighbours change nothing.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as v2

from robench import Examples, StoredImage
from robench_builtins.datasets.shared.stratified_splits import shuffled_classes


@dataclass(frozen=True)
class Augmentation:
    """Hold with which probability what happens to a copy, in this order.

    Attributes:
        crop: a part of 0.8 to 1 of the area at a ratio of 3/4 to 4/3, resized to the whole.
        rotate: by up to 20 degrees; what comes in from outside is the image mirrored at its border.
        flip: mirrored.
        jitter: brightness, contrast and saturation by up to a tenth, hue by up to a tenth of the circle, in any order.
        dropout: ``HOLES`` holes of 1 to ``HOLE`` of 256 pixels a side, filled with grey 128.
    """

    crop: float
    rotate: float
    flip: float
    jitter: float
    dropout: float


#: Of report 001, question 1, section 2: for its CNN, and for its vision transformer.
RECIPES = {
    "report-cnn": Augmentation(crop=1.0, rotate=0.4, flip=0.4, jitter=0.7, dropout=0.0),
    "report-vit": Augmentation(crop=0.7, rotate=0.4, flip=0.4, jitter=0.5, dropout=0.5),
}
DEGREES, TENTH = 20.0, 0.1
HOLES, HOLE, GREY = 8, 25 / 256, 128


def augmented(base: Examples, count: int, seed: int, recipe: str) -> Examples:
    """Serve ``count`` images a class: the originals, then augmented copies of them.

    Of a class with more, ``count`` are drawn. Every original has one copy before any has two.
    """
    chosen: list[tuple[int, int, int]] = []
    for label, members in enumerate(shuffled_classes(base.labels.tolist(), seed)):
        for place in range(count if members else 0):
            repeat, member = divmod(place, len(members))
            chosen.append((members[member], label, repeat))
    rows, labels, repeats = ([entry[column] for entry in chosen] for column in range(3))
    how = RECIPES[recipe]

    def fetch(places: Sequence[int]) -> Tensor:
        images = base[[rows[place] for place in places]].images()
        return torch.stack(
            [
                altered(image, how, random.Random(f"{seed}/{rows[place]}/{repeats[place]}"))
                if repeats[place]
                else image
                for image, place in zip(images, places, strict=True)
            ]
        )

    def digest(places: Sequence[int]) -> bytes:
        drawn = [(rows[place], repeats[place]) for place in places]
        text = f"{base[[row for row, _ in drawn]].fingerprint} {how} {seed} {drawn}"
        return hashlib.sha256(text.encode()).digest()

    def describe(place: int) -> StoredImage | None:
        return base.stored(rows[place])

    return Examples(torch.tensor(labels, dtype=torch.long), base.shape, fetch, digest, describe=describe)


def altered(image: Tensor, how: Augmentation, chance: random.Random) -> Tensor:
    """Return a copy of uint8 ``image`` (C, H, W), altered as ``chance`` draws."""
    picture = v2.to_pil_image(image)
    if chance.random() < how.crop:
        top, left, height, width = window(picture.height, picture.width, chance)
        picture = v2.resized_crop(picture, top, left, height, width, [picture.height, picture.width])
    if chance.random() < how.rotate:
        picture = turned(picture, chance.uniform(-DEGREES, DEGREES))
    if chance.random() < how.flip:
        picture = v2.horizontal_flip(picture)
    if chance.random() < how.jitter:
        picture = recoloured(picture, chance)
    pixels: Tensor = v2.pil_to_tensor(picture)
    if chance.random() < how.dropout:
        pixels = with_holes(pixels, chance)
    return pixels


def window(height: int, width: int, chance: random.Random) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of a part to crop, drawn as torchvision's RandomResizedCrop draws one."""
    for _ in range(10):
        area = height * width * chance.uniform(0.8, 1.0)
        ratio = math.exp(chance.uniform(math.log(3 / 4), math.log(4 / 3)))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            return chance.randint(0, height - down), chance.randint(0, width - across), down, across
    return 0, 0, height, width


def turned(picture: Image.Image, degrees: float) -> Image.Image:
    """Return the picture turned around its middle, continued by its mirror image where it ends."""
    height, width = picture.height, picture.width
    edge = min(height, width) - 1
    wide = v2.pad(picture, [min(edge, -(-max(height, width) // 3))], padding_mode="reflect")
    turned_: Image.Image = v2.rotate(wide, degrees, InterpolationMode.BILINEAR)
    cropped: Image.Image = v2.center_crop(turned_, [height, width])
    return cropped


def recoloured(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Return the picture with other brightness, contrast, saturation and hue, changed in an order that is drawn."""
    steps = [v2.adjust_brightness, v2.adjust_contrast, v2.adjust_saturation]
    changes = [(step, chance.uniform(1 - TENTH, 1 + TENTH)) for step in steps]
    changes.append((v2.adjust_hue, chance.uniform(-TENTH, TENTH)))
    chance.shuffle(changes)
    for step, amount in changes:
        picture = step(picture, amount)
    return picture


def with_holes(pixels: Tensor, chance: random.Random) -> Tensor:
    """Return uint8 (C, H, W) with grey rectangles in it."""
    _, height, width = pixels.shape
    pixels = pixels.clone()
    for _ in range(HOLES):
        down, across = (chance.randint(1, max(1, round(HOLE * side))) for side in (height, width))
        top, left = chance.randint(0, height - down), chance.randint(0, width - across)
        pixels[:, top : top + down, left : left + across] = GREY
    return pixels
