"""Turn whatever pixels a file holds into eight bits a channel, opaque and upright; refuse numbers of unknown range."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

#: Modes of one channel without colour.
GREY = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})

#: Modes that Pillow turns into RGB without a profile.
COLOUR = frozenset({"RGBX", "CMYK", "YCbCr", "HSV"})

#: Formats whose 16-bit images some versions of Pillow hold in 32-bit integers.
SIXTEEN_AS_32 = frozenset({"PNG", "PPM"})

#: EXIF: the tag, and what turns an image stored so upright, as in PIL.ImageOps.exif_transpose.
ORIENTATION = 0x0112
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}

#: TIFF: the tag that says whether zero is white.
PHOTOMETRIC = 262

#: What the background is where an image is transparent.
WHITE = 255


def plain(picture: Image, packing: str, called: str) -> Image:
    """Return a loaded image in mode L or RGB: eight bits a channel, on white, upright.

    Args:
        picture: as its file was opened.
        packing: how the file packs its pixels, in Pillow's words.
        called: its name in a sentence.
    """
    from PIL import Image

    way = TURNS.get(orientation_of(picture))  # before a conversion drops it
    flat = _opaque(_eight_bits(picture, packing, called))
    return flat.transpose(Image.Transpose[way]) if way else flat


def without_colour(picture: Image, called: str) -> Image:
    """Return an image of mode L or RGB in mode L; DataError if it has colour."""
    if picture.mode == "L":
        return picture
    pixels = np.asarray(picture)
    if not (pixels == pixels[..., :1]).all():
        raise DataError(f"{called} is in colour, but was to be served in grey; serve the whole set as RGB.")
    return _from_array(np.ascontiguousarray(pixels[..., 0]))


def orientation_of(picture: Image) -> int:
    """Return the EXIF orientation, 1 to 8; what says nothing that can be understood is upright, as in any viewer."""
    try:
        found = picture.getexif().get(ORIENTATION, 1)
    except Exception:  # a damaged EXIF block raises whatever its parser meets
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def is_deep(packing: str) -> bool:
    """Tell whether a channel has 16 bits in the file; in colour Pillow keeps the upper eight of them."""
    return ";16" in packing


def _eight_bits(picture: Image, packing: str, called: str) -> Image:
    """Return an image in mode L, LA, RGB or RGBA."""
    mode, key = picture.mode, picture.info.get("transparency")
    if mode.startswith("I;16") or (mode == "I" and picture.format in SIXTEEN_AS_32):
        return _from_sixteen(picture, packing, key)
    if mode in ("I", "F"):
        return _from_wide(picture, called)
    if mode in ("P", "PA"):
        return picture.convert("RGBA" if mode == "PA" or key is not None else "RGB")
    if mode == "RGB" and key is not None and is_deep(packing):
        picture.info["transparency"] = tuple(part >> 8 for part in key)  # the pixels, too, lost their lower byte
    if mode in ("1", "L", "RGB") and key is not None:
        return picture.convert("RGBA" if mode == "RGB" else "LA")
    if mode in ("L", "LA", "RGB", "RGBA"):
        return picture
    if mode in ("La", "RGBa"):
        return picture.convert(mode.upper())
    if mode == "1" or mode in COLOUR:
        return picture.convert("L" if mode == "1" else "RGB")
    raise DataError(f"{called} has pixels of mode {mode}, which have no plain way to RGB; save it as RGB.")


def _from_sixteen(picture: Image, packing: str, key: object) -> Image:
    """Return round(value / 257) of 16-bit pixels; those of 12 bits, which TIFF has, have a range of their own."""
    values = np.asarray(picture).astype(np.uint32)
    top = 4095 if ";12" in packing else 65535
    grey = _as_stored(((values * 255 + top // 2) // top).astype(np.uint8), picture)
    if isinstance(key, int):
        return _from_array(np.stack([grey, np.where(values == key, 0, 255).astype(np.uint8)], axis=-1))
    return _from_array(grey)


def _from_wide(picture: Image, called: str) -> Image:
    """Return 32-bit integers that are 0 to 255, or floats of 0 to 1 times 255; the range of others is not known."""
    values = np.asarray(picture)
    low, high = values.min(), values.max()
    top = 255 if picture.mode == "I" else 1
    if not (low >= 0 and high <= top):  # NaN compares as False
        kind = "integers of 32 bits" if picture.mode == "I" else "floating-point numbers"
        raise DataError(
            f"{called} holds {kind} from {low:g} to {high:g}, whose range is not known (0 to {top} is taken as it is); "
            "save it with 8 or 16 bits a channel."
        )
    return _from_array(_as_stored(np.floor(values * (255 / top) + 0.5).astype(np.uint8), picture))


def _as_stored(grey: NDArray[np.uint8], picture: Image) -> NDArray[np.uint8]:
    """Invert what a TIFF file stores with zero for white; Pillow does so for eight bits alone."""
    tags = getattr(picture, "tag_v2", None)
    return 255 - grey if tags is not None and tags.get(PHOTOMETRIC) == 0 else grey


def _opaque(picture: Image) -> Image:
    """Lay an image with alpha on white, so that what is transparent does not show."""
    if picture.mode not in ("LA", "RGBA"):
        return picture
    pixels = np.asarray(picture).astype(np.uint16)
    colour, alpha = pixels[..., :-1], pixels[..., -1:]
    flat = ((colour * alpha + WHITE * (255 - alpha) + 127) // 255).astype(np.uint8)
    return _from_array(flat[..., 0] if picture.mode == "LA" else flat)


def _from_array(array: NDArray[np.uint8]) -> Image:
    from PIL import Image

    return Image.fromarray(array)
