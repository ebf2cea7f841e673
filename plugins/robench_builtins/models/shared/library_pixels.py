"""What a library does to an image before its network, differentiably, and held to the library's own pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from PIL import Image
from torch import Tensor, nn

from robench import Preprocess, WeightsError

#: Grey levels of 255 by which pixels may differ from the library's: on average, and anywhere. Libraries round to bytes
#: after each pass of resizing; measured on noise and smooth images: 0.34 and 1.6 at most.
MEAN_LEVELS, MOST_LEVELS = 1.0, 3.0

#: The same where nothing is resized, so that nothing is rounded.
EXACT_LEVELS = 0.01

OWN_CODE = "wrap the model in a function of your own and write FILE.py:NAME"


@dataclass(frozen=True)
class Recipe:
    """Say what happens to an image in [0, 1], in this order.

    Attributes:
        mean: subtracted last, per channel.
        std: what is divided by then.
        resized: side that the shorter side is resized to; None resizes nothing.
        crop: side of the middle that is kept; what is larger than the image is padded.
        interpolation: ``bilinear`` or ``bicubic``.
        exact: both sides are resized to ``resized``, whatever the image's aspect.
        first: share of the shorter side that is kept, in the middle, before all else.
        fill: colour of what is padded.
        down: an odd border leaves the smaller half above and left, as transformers does; others round to even.
        flipped: channels come as blue, green, red; ``mean`` and ``std`` in that order.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    resized: int | None = None
    crop: int | None = None
    interpolation: str = "bilinear"
    exact: bool = False
    first: float | None = None
    fill: tuple[float, ...] = (0.0,)
    down: bool = False
    flipped: bool = False


class CentreCrop(nn.Module):
    """Keep the middle ``height`` x ``width``, padding with ``fill`` where the image is smaller."""

    def __init__(self, height: int, width: int, fill: Sequence[float] = (0.0,), down: bool = False) -> None:
        super().__init__()
        self.size, self.down = (height, width), down
        self.register_buffer("fill", torch.tensor(fill, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, C, height, width)."""
        height, width = self.size
        rows, columns = height - images.shape[2], width - images.shape[3]
        if rows > 0 or columns > 0:
            tall, wide = max(rows, 0), max(columns, 0)
            fill = self.get_buffer("fill")
            sides = (wide // 2, (wide + 1) // 2, tall // 2, (tall + 1) // 2)
            images = F.pad(images - fill, sides) + fill
        top, left = self._half(images.shape[2] - height), self._half(images.shape[3] - width)
        return images[..., top : top + height, left : left + width]

    def _half(self, border: int) -> int:
        return border // 2 if self.down else round(border / 2)


class FlipChannels(nn.Module):
    """Turn red, green, blue into blue, green, red."""

    def forward(self, images: Tensor) -> Tensor:
        """Return images (N, C, H, W) of the same shape."""
        return images.flip(1)


class Resize(nn.Module):
    """Resize to ``height`` x ``width``, antialiased, as PIL does: columns, then rows, each clamped as bytes are."""

    def __init__(self, height: int, width: int, interpolation: str) -> None:
        super().__init__()
        self.height, self.width, self.interpolation = height, width, interpolation

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, C, height, width)."""
        if images.shape[2:] == (self.height, self.width):
            return images
        for step in ((images.shape[2], self.width), (self.height, self.width)):
            images = F.interpolate(images, step, mode=self.interpolation, antialias=True).clamp(0.0, 1.0)
        return images


def preprocessing(recipe: Recipe, shape: Sequence[int]) -> nn.Module:
    """Return the module that does what ``recipe`` says to images of ``shape`` (C, H, W)."""
    with torch.device("cpu"):  # also where a network is built on the device meta
        parts = _parts(recipe, shape)
    return parts[0] if len(parts) == 1 else nn.Sequential(*parts)


def _parts(recipe: Recipe, shape: Sequence[int]) -> list[nn.Module]:
    channels, height, width = shape
    before: list[nn.Module] = [FlipChannels()] if recipe.flipped and channels == len(recipe.mean) else []
    if recipe.first is not None:
        height = width = int(recipe.first * min(height, width))
        before.append(CentreCrop(height, width, recipe.fill, recipe.down))
    last: list[nn.Module] = []
    resized, crop = recipe.resized, recipe.crop
    if resized is None or height != width:
        if resized is not None:
            height, width = _target(recipe, height, width)
            before.append(Resize(height, width, recipe.interpolation))
        resized = None
    else:
        height = width = resized
    if crop is not None and (height, width) != (crop, crop):
        if resized is not None and crop < resized:
            last = [CentreCrop(crop, crop, recipe.fill, recipe.down)]
        elif resized is not None:  # what is padded is padded before it is normalised
            unit = Preprocess((0.0,), (1.0,), resized, cast(Any, recipe.interpolation))
            before += [unit, CentreCrop(crop, crop, recipe.fill, recipe.down)]
            resized = None
        else:
            before.append(CentreCrop(crop, crop, recipe.fill, recipe.down))
    normalise = Preprocess(recipe.mean, recipe.std, resized, cast(Any, recipe.interpolation))
    return [*before, normalise, *last]


def _target(recipe: Recipe, height: int, width: int) -> tuple[int, int]:
    side = cast(int, recipe.resized)
    if recipe.exact:
        return side, side
    return (side, int(side * width / height)) if height <= width else (int(side * height / width), side)


def held_to(
    library: Callable[[list[Image.Image]], Tensor], ours: nn.Module, recipe: Recipe, shape: Sequence[int], whose: str
) -> nn.Module:
    """Return ``ours`` after its pixels on a few images of ``shape`` were compared with the library's own.

    ``whose`` names the library's processing in the error, such as "FOLDER's ViTImageProcessor".
    """
    try:
        with torch.device("cpu"):
            images = samples(shape)
            theirs = library([_picture(image) for image in images]).float()
    except Exception as error:  # processors raise whatever they trip on
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise WeightsError(
            f"{whose} cannot process the dataset's images, {' x '.join(map(str, shape))} ({reason[:200]}); {OWN_CODE}."
        ) from error
    with torch.no_grad():
        mine = ours(images.float() / 255)
    if mine.shape != theirs.shape:
        raise WeightsError(
            f"{whose} makes images of {' x '.join(map(str, theirs.shape[1:]))} and robench's reading of it "
            f"{' x '.join(map(str, mine.shape[1:]))}; {OWN_CODE}."
        )
    levels = (mine - theirs).abs() * torch.tensor(recipe.std, device="cpu").abs().view(1, -1, 1, 1) * 255
    rounded = recipe.resized is not None or recipe.first is not None
    most, mean = (MOST_LEVELS, MEAN_LEVELS) if rounded else (EXACT_LEVELS, EXACT_LEVELS)
    if not (bool(levels.max() <= most) and bool(levels.mean() <= mean)):  # NaN is no agreement
        raise WeightsError(
            f"{whose} makes other pixels than robench's reading of it: they differ by {float(levels.mean()):.2g} grey "
            f"levels of 255 on average and {float(levels.max()):.3g} at most ({mean:g} and {most:g} are rounding); "
            f"{OWN_CODE}."
        )
    return ours


def samples(shape: Sequence[int]) -> Tensor:
    """Return two images of noise and two smooth ones, as bytes (4, C, H, W); always the same."""
    chance = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (2, *shape), generator=chance, dtype=torch.uint8)
    coarse = torch.rand(2, shape[0], 4, 4, generator=chance)
    smooth = F.interpolate(coarse, tuple(shape[1:]), mode="bicubic").clamp(0, 1)
    return torch.cat([noise, (smooth * 255).round().to(torch.uint8)])


def _picture(image: Tensor) -> Image.Image:
    """Return a PIL image; grey becomes RGB, as robench's preprocessing makes three channels of one."""
    array = image.expand(3, -1, -1) if len(image) == 1 else image
    return Image.fromarray(array.permute(1, 2, 0).numpy())
