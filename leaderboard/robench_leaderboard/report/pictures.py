"""Small pictures for the page: PNG files inside ``data:`` addresses."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from robench.evidence.gallery import Picture

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

#: Longest side of a picture on the page; larger ones are reduced.
SIDE = 128
#: The factors a perturbation may be magnified by: the largest that keeps it within half the range is taken.
FACTORS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
#: From nothing to the largest value: black, violet, red, orange, pale yellow.
HEAT = ((0, 0, 8), (74, 18, 107), (168, 46, 95), (239, 101, 50), (252, 180, 60), (252, 253, 191))


@dataclass(frozen=True)
class ShownPicture:
    """Be one image of the gallery as the page shows it: five ``data:`` addresses, and how it was magnified."""

    picture: Picture
    clean: str
    difference: str
    adversarial: str
    saliency: tuple[str, str] | None
    factor: int
    width: int
    height: int


def show(picture: Picture, factor: int) -> ShownPicture:
    """Return the image, what was added to it times ``factor``, the result, and what the model looked at."""
    height, width = picture.clean.shape[1:]
    reduced = min(1.0, SIDE / max(height, width))
    # Grey-centred: 0.5 is untouched, brighter was made brighter.
    difference = 0.5 + factor * (picture.adversarial - picture.clean)
    return ShownPicture(
        picture=picture,
        clean=address(colours(picture.clean)),
        difference=address(colours(difference)),
        adversarial=address(colours(picture.adversarial)),
        saliency=None if picture.saliency is None else (heat(picture.saliency[0]), heat(picture.saliency[1])),
        factor=factor,
        width=max(1, round(width * reduced)),
        height=max(1, round(height * reduced)),
    )


def magnification(pictures: list[Picture]) -> int:
    """Return the one factor for these pictures, so that they can be compared."""
    largest = max((float(abs(one.adversarial - one.clean).max()) for one in pictures), default=0.0)
    return max((factor for factor in FACTORS if factor * largest <= 0.5), default=1)


def colours(image: Array) -> Array:
    """Return float (C, H, W) as uint8 (H, W, 3); one channel is grey, of others the first three are taken."""
    import numpy as np

    scaled: Array = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    if len(scaled) < 3:
        scaled = np.repeat(scaled[:1], 3, axis=0)
    return scaled[:3].transpose(1, 2, 0)


def heat(values: Array) -> str:
    """Return (H, W) values of at least 0 as a heat map, its largest value the brightest."""
    import numpy as np

    peak = values.max()
    return address(heat_colours(values / peak if peak > 0 else np.zeros_like(values)))


def heat_colours(values: Array) -> Array:
    """Return (H, W) values in [0, 1] as the colours of a heat map, uint8 (H, W, 3)."""
    import numpy as np

    coloured: Array = _palette()[np.rint(values * 255).astype(np.uint8)]
    return coloured


def address(pixels: Array, side: int = SIDE) -> str:
    """Return uint8 (H, W, 3) as the ``data:`` address of a PNG of at most ``side`` pixels a side."""
    from PIL import Image

    image = Image.fromarray(pixels)
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    if _grey(pixels):
        image = image.convert("L")
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _grey(pixels: Array) -> bool:
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())


@lru_cache(maxsize=1)
def _palette() -> Array:
    import numpy as np

    places, anchors = np.linspace(0, 1, 256), np.array(HEAT, dtype=float)
    steps = np.linspace(0, 1, len(HEAT))
    columns = [np.interp(places, steps, anchors[:, channel]) for channel in range(3)]
    palette: Array = np.rint(np.stack(columns, axis=1)).astype(np.uint8)
    return palette
