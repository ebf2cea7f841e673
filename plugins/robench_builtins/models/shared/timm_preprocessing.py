"""What timm does to an image, read from its data configuration as a recipe; imported only where timm is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from timm.data import create_transform

from robench import WeightsError
from robench_builtins.models.shared.library_pixels import OWN_CODE, Recipe, held_to, preprocessing
from robench_builtins.models.shared.preprocessing_preset import smooth, square

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

#: How timm fits an image into the input: in words, for the documentation.
CROP_MODES = {
    "center": "resizes the shorter side to side / crop_pct, crops the middle; pads with black if crop_pct > 1",
    "squash": "resizes both sides to side / crop_pct, crops the middle",
    "border": "as center for square images; pads with the mean colour if crop_pct > 1",
}


def read_config(
    config: dict[str, Any], place: str, asked: str, shape: Sequence[int], resolution: int | None, whose: str = ""
) -> nn.Module:
    """Return what timm does to images of ``shape``, differentiably, held to timm's own pixels.

    ``config`` is a data configuration, as ``timm.data.resolve_data_config`` returns it; ``asked`` the interpolation
    that the user wants in place of its own, or another word; ``resolution`` a side in place of all its sizes.
    """
    interpolation = smooth(place, config["interpolation"], asked)
    mode = config.get("crop_mode") or "center"
    if mode not in CROP_MODES:
        raise WeightsError(
            f"{place} is prepared with timm's crop_mode '{mode}', which robench does not know "
            f"({', '.join(CROP_MODES)}); {OWN_CODE}."
        )
    side = resolution or square(place, config["input_size"][1:])
    portion = 1.0 if resolution else config["crop_pct"]
    mean, std = tuple(map(float, config["mean"])), tuple(map(float, config["std"]))
    fill = tuple(round(255 * value) / 255 for value in mean) if mode == "border" else (0.0,)
    wide = mode == "border" and shape[1] != shape[2]
    if wide and resolution is None:
        raise WeightsError(
            f"{place} is prepared with timm's crop_mode 'border', which pads images that are not square, as the "
            f"dataset's are not; {OWN_CODE}, or choose -p victim.resolution={side}."
        )
    recipe = Recipe(
        mean, std, int(side // portion), side, interpolation, exact=mode == "squash" and resolution is None, fill=fill
    )
    stated = {**config, "interpolation": interpolation, "input_size": (3, side, side), "crop_pct": portion}
    with torch.device("cpu"):  # also where a network is built on the device meta
        transform = create_transform(**stated, is_training=False)

    def library(pictures: list[Image]) -> Tensor:
        return torch.stack([transform(picture) for picture in pictures])

    seen = shape if resolution is None or shape[1] == shape[2] else (shape[0], side, side)
    held_to(library, preprocessing(recipe, seen), recipe, seen, whose or f"timm's transform of {place}")
    return preprocessing(recipe, shape)
