"""The image processors of transformers, each read as a recipe; imported only where torch is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from robench import WeightsError
from robench_builtins.models.shared.library_pixels import OWN_CODE, Recipe, held_to, preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

#: PIL's numbers of the interpolations that torch computes as PIL does.
INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}

_NUMBERS = {name: number for number, name in INTERPOLATIONS.items()}

Reader = Callable[[Any, Recipe], Recipe]


def read_processor(
    processor: Any, place: str, interpolation: str, shape: Sequence[int], resolution: int | None = None
) -> nn.Module:
    """Return what a processor does to images of ``shape``, differentiably, held to its own pixels.

    ``resolution`` is a side to resize to in place of all that the processor says about sizes; its other pixels are
    then compared on images that have this side already.
    """
    whose = f"{place}'s {class_name(processor)}"
    if hasattr(processor, "val_transforms"):
        return _read_timm(processor, place, whose, interpolation, shape, resolution)
    recipe = read(processor, place, interpolation)
    options: dict[str, Any] = {"resample": _NUMBERS[interpolation]} if interpolation in _NUMBERS else {}

    def library(pictures: list[Image]) -> Tensor:
        pixels: Tensor = processor(pictures, return_tensors="pt", **options)["pixel_values"]
        return pixels

    if resolution is None:
        return held_to(library, preprocessing(recipe, shape), recipe, shape, whose)
    options.update(do_resize=False, do_center_crop=False)
    still = replace(recipe, resized=None, crop=None, first=None)
    alone = (shape[0], resolution, resolution)
    held_to(library, preprocessing(still, alone), still, alone, whose)
    return preprocessing(replace(still, resized=resolution), shape)


def read(processor: Any, place: str, interpolation: str) -> Recipe:
    """Return what a processor does; WeightsError, by class and field, for what is not known or cannot be expressed.

    ``interpolation`` is what the user asked for in place of the processor's, or another word.
    """
    name = class_name(processor)
    if name not in KNOWN:
        raise WeightsError(
            f"{place} has a {name}, which is none of the processors that robench reads ({', '.join(sorted(KNOWN))}); "
            f"{OWN_CODE}."
        )
    for field, why in REFUSED.items():
        if getattr(processor, field, None):
            raise WeightsError(f"{place}'s {name} has {field}={getattr(processor, field)!r}, {why}; {OWN_CODE}.")
    mean, std = _affine(processor)
    side = _side(processor, place, name)
    smooth = _interpolation(processor, place, interpolation) if side is not None else "bicubic"
    plain = Recipe(mean, std, side, _crop(processor, place, name), smooth, down=True)
    exact = side is not None and not processor.size.shortest_edge
    _, special = KNOWN[name]
    return special(processor, replace(plain, exact=exact))


def class_name(processor: Any) -> str:
    """Return the processor's class without what says which library it computes with."""
    return type(processor).__name__.removesuffix("Fast").removesuffix("Pil")


def _affine(processor: Any, offset: float = 0.0) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation in [0, 1] that amount to the processor's rescaling, offset and normalisation."""
    scale = 255 * processor.rescale_factor if processor.do_rescale else 255.0
    scale = 1.0 if abs(scale - 1) < 1e-6 else scale  # rounding of 1 / 255 in the file
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else (0.0, 1.0)
    means, stds = _channels(mean), _channels(std)
    return tuple((value + offset) / scale for value in means), tuple(value / scale for value in stds)


def _channels(value: Any) -> tuple[float, ...]:
    return tuple(map(float, value)) if isinstance(value, list | tuple) else (float(value),) * 3


def _side(processor: Any, place: str, name: str) -> int | None:
    if not processor.do_resize:
        return None
    size = processor.size
    named = {key: value for key, value in dict(size).items() if value is not None}
    if set(named) not in ({"shortest_edge"}, {"height", "width"}):
        raise WeightsError(
            f"{place}'s {name} has size={named}, and robench resizes to a shortest_edge or to a height and width; "
            f"{OWN_CODE}."
        )
    if size.shortest_edge is None and size.height != size.width:
        raise WeightsError(
            f"{place}'s processor resizes to {size.height} x {size.width}, and robench resizes to squares; {OWN_CODE}."
        )
    return int(size.shortest_edge or size.height)


def _crop(processor: Any, place: str, name: str) -> int | None:
    crop = getattr(processor, "crop_size", None)
    if not getattr(processor, "do_center_crop", None) or crop is None:
        return None
    if crop.height != crop.width or not crop.height:
        named = {key: value for key, value in dict(crop).items() if value is not None}
        raise WeightsError(f"{place}'s {name} has crop_size={named}, and robench crops to squares; {OWN_CODE}.")
    return int(crop.height)


def _interpolation(processor: Any, place: str, asked: str) -> str:
    if asked in INTERPOLATIONS.values():
        return asked
    resample = processor.resample
    number = 2 if resample is None else int(getattr(resample, "value", resample))
    if number not in INTERPOLATIONS:
        raise WeightsError(
            f"{place}'s processor resizes with PIL's filter {number}, which has no differentiable counterpart here; "
            "add -p victim.interpolation=bicubic (or bilinear) to use that instead."
        )
    return INTERPOLATIONS[number]


def _read_timm(
    processor: Any, place: str, whose: str, interpolation: str, shape: Sequence[int], resolution: int | None
) -> nn.Module:
    """Return what timm does to images, in a folder of transformers that wraps a timm model."""
    from robench_builtins.models.shared.timm_preprocessing import read_config

    return read_config(dict(processor.data_config), place, interpolation, shape, resolution, whose)


def _plain(processor: Any, recipe: Recipe) -> Recipe:
    return recipe


def _uncropped(processor: Any, recipe: Recipe) -> Recipe:
    return replace(recipe, crop=None)


def _convnext(processor: Any, recipe: Recipe) -> Recipe:
    side = recipe.resized
    if side is None:
        return recipe
    if side >= 384:
        return replace(recipe, exact=True)
    return replace(recipe, resized=int(side / processor.crop_pct), crop=recipe.crop or side)


def _poolformer(processor: Any, recipe: Recipe) -> Recipe:
    if recipe.resized is None or processor.crop_pct is None:
        return recipe
    return replace(recipe, resized=int(recipe.resized / processor.crop_pct), exact=False)


def _levit(processor: Any, recipe: Recipe) -> Recipe:
    return (
        recipe if recipe.exact or recipe.resized is None else replace(recipe, resized=int(256 / 224 * recipe.resized))
    )


def _perceiver(processor: Any, recipe: Recipe) -> Recipe:
    first = processor.size.height / recipe.crop if recipe.crop and processor.size.height else None
    return replace(recipe, first=first, crop=None)


def _efficientnet(processor: Any, recipe: Recipe) -> Recipe:
    mean, std = _affine(processor, offset=1.0 if processor.do_rescale and processor.rescale_offset else 0.0)
    if processor.include_top:
        std = tuple(value * again for value, again in zip(std, _channels(processor.image_std), strict=True))
    return replace(recipe, mean=mean, std=std)


def _mobilevit(processor: Any, recipe: Recipe) -> Recipe:
    scale = 1 / (255 * processor.rescale_factor) if processor.do_rescale else 1 / 255  # it never normalises
    return replace(recipe, mean=(0.0,) * 3, std=(scale,) * 3, flipped=bool(processor.do_flip_channel_order))


def _textnet(processor: Any, recipe: Recipe) -> Recipe:
    if recipe.resized is None:
        return recipe
    return replace(recipe, resized=-(-recipe.resized // processor.size_divisor) * processor.size_divisor)


#: Fields that change pixels and that no recipe expresses, with the reason.
REFUSED = {"do_pad": "and robench does not pad"}

#: What each processor does beyond resize, centre crop, rescale, normalise: in words, and as a recipe.
KNOWN: dict[str, tuple[str, Reader]] = {
    "BeitImageProcessor": ("", _plain),
    "BitImageProcessor": ("", _plain),
    "BlipImageProcessor": ("", _plain),
    "CLIPImageProcessor": ("", _plain),
    "ConvNextImageProcessor": ("below 384: resizes to size / crop_pct, then crops; from 384: both sides", _convnext),
    "DeiTImageProcessor": ("", _plain),
    "EfficientNetImageProcessor": ("rescale_offset; include_top divides by the deviation again", _efficientnet),
    "LevitImageProcessor": ("resizes to 256 / 224 of size, then crops", _levit),
    "MobileNetV1ImageProcessor": ("", _plain),
    "MobileNetV2ImageProcessor": ("", _plain),
    "MobileViTImageProcessor": ("do_flip_channel_order; never normalises", _mobilevit),
    "PerceiverImageProcessor": ("crops size / crop_size of the shorter side first, then resizes", _perceiver),
    "PoolFormerImageProcessor": ("resizes to size / crop_pct, then crops", _poolformer),
    "PvtImageProcessor": ("", _plain),
    "SegformerImageProcessor": ("never crops", _uncropped),
    "SiglipImageProcessor": ("", _plain),
    "TextNetImageProcessor": ("resizes to a multiple of size_divisor", _textnet),
    "ViTImageProcessor": ("", _plain),
}
