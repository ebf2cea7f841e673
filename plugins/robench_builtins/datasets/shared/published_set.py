"""What published data sets share: the resolution at which they are attacked, and how their classes are spelt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from robench import Dataset, Resize, SpecError, parameter

#: What separates words in the class names of data sets.
SEPARATORS = str.maketrans("_-/", "   ")


class PublishedSet(Dataset):
    """Have the attack space as parameters, since eps is in its pixels: at 32 x 32 and at 224 x 224 are two threats."""

    size: int | None = parameter(
        default=None,
        help="side in pixels at which images are attacked, to which they are resized; none: as they are",
        minimum=8,
        later=True,
    )
    resize: int | None = parameter(
        default=None,
        help="short side to which images are resized before the middle of that size is cut out, as by torchvision's "
        "Resize and CenterCrop; none: the largest square is resized at once",
        minimum=8,
        later=True,
    )
    resample: Literal["bicubic", "bilinear"] = parameter(default="bicubic", help="how they are resized", later=True)

    @property
    def resizing(self) -> Resize | None:
        """Return how images are brought to the attack space; None leaves them as they are."""
        if self.size is not None:
            return Resize(self.size, self.resize, self.resample)
        if self.resize is not None:
            raise SpecError(f"{self.name}.resize={self.resize} needs the size that is cut out; give size=224 too.")
        return None


class NamedSet(PublishedSet):
    """Let a protocol choose how class names are spelt in prompts."""

    spelling: Literal["words", "raw", "refined"] = parameter(
        default="words",
        help="class names: words: _ as a space; raw: as torchvision has them; refined: as TeCoA's code has them, in "
        "small letters with spaces for _ - /",
        later=True,
    )

    def spelt(self, raw: Iterable[str]) -> tuple[str, ...]:
        """Return the raw class names as ``spelling`` says."""
        if self.spelling == "raw":
            return tuple(raw)
        if self.spelling == "refined":
            return tuple(name.lower().translate(SEPARATORS) for name in raw)
        return tuple(" ".join(name.replace("_", " ").split()) for name in raw)
