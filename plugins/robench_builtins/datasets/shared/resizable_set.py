"""What data sets share: the resolution at which they are attacked, how classes are spelt, what own images are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from robench import Dataset, Resize, SpecError, parameter

#: What separates words in the class names of data sets.
SEPARATORS = str.maketrans("_-/", "   ")


class ResizableSet(Dataset):
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


class OwnSet(ResizableSet):
    """Serve what the user has: ``NAME:PATH``, and the data set that it is a copy of, if it is one."""

    #: The word before the colon of the shorthand; empty is the name.
    typed: ClassVar[str] = ""

    origin_name: str = parameter(
        default="", help="the data set as robench names it, e.g. cifar10, so that models' stated accuracies apply"
    )

    @classmethod
    def shorthand(cls, text: str) -> dict[str, str] | None:
        """Read ``NAME:PATH``."""
        word, colon, path = text.partition(":")
        return {"path": path} if colon and word == (cls.typed or cls.name) else None

    def origin(self) -> str:
        """Return the data set the user named, else this one's own name."""
        return self.origin_name or self.name


class NamedSet(ResizableSet):
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
