"""Decode stored images by one rule: first frame, upright, on white, eight bits a channel; the rest is refused by name.

docs/how-to/dataset.md states the rule as tables, and the tests carry out each of their lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from robench.contracts.image_pixels import GREY, is_deep, orientation_of, plain, without_colour
from robench.contracts.image_resize import Resize
from robench.errors import DataError, RobenchError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

#: Formats of Pillow's that are not read. EPS starts Ghostscript and WMF asks Windows to draw, whatever the file is
#: called; the numbers of FITS and MCIDAS have no range of their own; the others Pillow recognises and cannot decode.
NOT_READ = frozenset({"BUFR", "EPS", "FITS", "GRIB", "HDF5", "IPTC", "MCIDAS", "MPEG", "WMF"})

#: How the file begins that git leaves in an image's place.
LFS = b"version https://git-lfs"


class StoredImage(NamedTuple):
    """Say how an image is stored: Pillow's names of format and mode, size when upright, EXIF orientation, frames."""

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    frames: int

    @property
    def grey(self) -> bool:
        """Tell whether it has no colour, as far as its mode says."""
        return self.mode.partition(" ")[0] in GREY


def decode_image(
    source: Path | bytes, name: str = "", *, grey: bool = False, size: int | Resize | None = None
) -> Tensor:
    """Return a stored image as uint8 (C, H, W): its first frame, upright, on white, in RGB.

    EXIF orientation is applied. 16 bits a channel become 8 by the range of 16 bits, whatever the image's own. Integers
    of 32 bits count as 0 to 255 and floats as 0 to 1; numbers outside are refused. Colour profiles are not applied.

    Args:
        source: the file, or its content.
        name: what a sentence calls it; empty for the file's path.
        grey: return one channel; an image in colour is refused.
        size: side in pixels of the largest square in the middle, resized (bicubic); or another :class:`Resize`; None
            keeps the size.

    Raises:
        DataError: it cannot be read, is damaged, or holds numbers whose range is not known.
    """
    with _opened(source, name) as (picture, called):
        packing = _packing(picture)
        picture.load()
        flat = plain(picture, packing, called)
        flat = without_colour(flat, called) if grey else flat.convert("RGB")
        return to_uint8(flat if size is None else resizing(size)(flat))


def describe_image(source: Path | bytes, name: str = "") -> StoredImage:
    """Return how an image is stored, from its head alone where that says it; DataError if it is no image."""
    with _opened(source, name) as (picture, _):
        deep = is_deep(_packing(picture)) and picture.mode in ("LA", "RGB", "RGBA")
        frames = int(getattr(picture, "n_frames", 1))
        orientation, sides = orientation_of(picture), picture.size
        # Of a TIFF file Pillow states the size that it has when upright.
        if orientation > 4 and picture.format != "TIFF":
            sides = sides[::-1]
        mode = f"{picture.mode} (16 bits)" if deep else picture.mode
        return StoredImage(picture.format or "?", mode, *sides, orientation, frames)


@lru_cache(maxsize=1)
def image_formats() -> tuple[str, ...]:
    """Return the names of the formats that are read: those that Pillow decodes here by itself."""
    from PIL import Image

    Image.init()
    return tuple(sorted(set(Image.OPEN) - NOT_READ))


@lru_cache(maxsize=1)
def image_suffixes() -> frozenset[str]:
    """Return the endings, in small letters, of files that hold an image as :func:`decode_image` reads it."""
    from PIL import Image

    formats = image_formats()
    known = {suffix.lower() for suffix, kind in Image.registered_extensions().items() if kind in formats}
    return frozenset(known | {".mpo"})  # Pillow registers it for writing alone, and reads it as JPEG


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; DataError if it cannot be had, or if reading it might never end."""
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"image {path} is no regular file; replace or remove it.")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"image {path} cannot be read ({error.strerror}); remove it or mend its permissions.") from None


def to_uint8(picture: Image) -> Tensor:
    """Return a PIL image as uint8 (C, H, W)."""
    import torch

    array = torch.from_numpy(np.array(picture))
    return array.unsqueeze(0) if array.dim() == 2 else array.permute(2, 0, 1).contiguous()


@contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator[tuple[Image, str]]:
    """Open an image and say its name; whatever its decoder raises inside on damaged content becomes a sentence."""
    from PIL import Image, UnidentifiedImageError

    content = read_bytes(source) if isinstance(source, Path) else source
    called = name or (f"image {source}" if isinstance(source, Path) else "the image")
    remedy = "replace or remove the file" if isinstance(source, Path) else "replace it or leave it out"
    try:
        with Image.open(BytesIO(content), formats=image_formats()) as picture:
            yield picture, called
    except RobenchError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"{called} cannot be decoded ({_no_image(content)}); {remedy}.") from None
    except Exception as error:  # Pillow's decoders raise SyntaxError, ValueError, struct.error and more
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise DataError(f"{called} cannot be decoded ({reason}); {remedy}.") from None


def _no_image(content: bytes) -> str:
    if not content:
        return "it is empty"
    if content.startswith(LFS):
        return "it is a pointer of Git LFS in the image's place: git lfs pull fetches the image"
    return "its content is no image of a format that is read here"


def _packing(picture: Image) -> str:
    """Return how the file packs its pixels, in Pillow's words; known until they are loaded."""
    return " ".join(str(tile[3]) for tile in getattr(picture, "tile", ()))


def resizing(size: int | Resize) -> Resize:
    """Return how images are resized where a size alone may be given."""
    return size if isinstance(size, Resize) else Resize(size)
