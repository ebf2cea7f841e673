"""The resolution at which images are attacked, and how a stored image is brought to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from robench.errors import SpecError

if TYPE_CHECKING:
    from PIL.Image import Image

Resample = Literal["bicubic", "bilinear"]


@dataclass(frozen=True)
class Resize:
    """Bring an image to ``size`` x ``size`` pixels.

    Without ``short_side`` the largest square in the middle is resized at once (``PIL.ImageOps.fit``). With it the image
    is resized as torchvision's ``Resize(short_side)`` does, and the middle cut out as its ``CenterCrop(size)`` does, to
    the pixel.
    """

    size: int
    short_side: int | None = None
    resample: Resample = "bicubic"

    def __post_init__(self) -> None:
        """Refuse to crop more than there is."""
        if self.short_side is not None and self.short_side < self.size:
            raise SpecError(
                f"An image whose short side is {self.short_side} has no middle of size {self.size}; choose resize no "
                "smaller than size, such as resize=256 and size=224."
            )

    def __str__(self) -> str:
        """Return what enters fingerprints; with the defaults, the size alone."""
        if self == Resize(self.size):
            return str(self.size)
        return f"{self.size} of {self.short_side or 'the largest square'} {self.resample}"

    def __call__(self, picture: Image) -> Image:
        """Return a PIL image at that size."""
        from PIL import ImageOps
        from PIL.Image import Resampling

        if self.short_side is None:
            return ImageOps.fit(picture, (self.size, self.size), Resampling[self.resample.upper()])
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms import functional as F  # noqa: N812 - its usual name

        resized = F.resize(picture, self.short_side, InterpolationMode[self.resample.upper()])
        cropped: Image = F.center_crop(resized, [self.size, self.size])
        return cropped
