"""A model's patch embedding as a gallery keeps it: the image it cuts, and the principal components of its filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

#: The tensors of a gallery file, all three or none.
IMAGE, FILTERS, CUT = "embedding_image", "embedding_filters", "embedding_cut"
NAMES = frozenset({IMAGE, FILTERS, CUT})
#: What the encoder is given; galleries older than it, and models that flatten nothing into tokens, have none.
TOKENS = "embedding_tokens"

#: Principal components kept, as in figure 7 of Dosovitskiy et al. (2021).
COMPONENTS = 28
#: Smaller kernels look at neighbours; they cut no patches.
LEAST_KERNEL = 4
#: Larger images are not what robench keeps.
MOST_SIDE = 1024
#: Values of all tokens together; more are not kept.
MOST_VALUES = 4_000_000


@dataclass(frozen=True, eq=False)
class Embedding:
    """Hold how a model cuts an image, and what it looks for in a patch.

    Attributes:
        kernel: side of a patch in pixels of the image below.
        stride: pixels from one patch to the next; fewer than ``kernel``, and patches overlap.
        image: float32 (C, H, W) in [0, 1], the gallery's first clean image as it reaches the layer; C is 1 or 3.
        filters: float32 (at most ``COMPONENTS``, C, kernel, kernel), each scaled to [0, 1], the leading one first.
        tokens: float32 (T, D), scaled to [0, 1]: what the encoder is given for this image, positions added. T may
            exceed the patches by class or prompt tokens. None if it was not kept.
    """

    kernel: int
    stride: int
    image: Array
    filters: Array
    tokens: Array | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Return how many patches there are downwards and across."""
        _, height, width = self.image.shape
        return (height - self.kernel) // self.stride + 1, (width - self.kernel) // self.stride + 1

    def patch(self, row: int, column: int) -> Array:
        """Return one patch (C, kernel, kernel)."""
        top, left = row * self.stride, column * self.stride
        cut: Array = self.image[:, top : top + self.kernel, left : left + self.kernel]
        return cut


def fits(image: Sequence[int], filters: Sequence[int], stride: int) -> bool:
    """Tell whether these shapes and this stride are those of a patch embedding."""
    if len(image) != 3 or len(filters) != 4:
        return False
    channels, sides, kernel = image[0], image[1:], filters[2]
    return (
        channels in (1, 3)
        and max(sides) <= MOST_SIDE
        and LEAST_KERNEL <= kernel <= min(sides)
        and 1 <= filters[0] <= COMPONENTS
        and tuple(filters[1:]) == (channels, kernel, kernel)
        and kernel <= 2 * stride <= 2 * kernel
    )


def embedding_of(tensors: Mapping[str, Array]) -> Embedding | None:
    """Return the embedding among a gallery's tensors; None if they have none, ValueError if it contradicts itself."""
    if not set(tensors) >= NAMES:
        return None
    kernel, stride = (int(value) for value in tensors[CUT])
    image, filters = tensors[IMAGE], tensors[FILTERS]
    if kernel != filters.shape[2] or not fits(image.shape, filters.shape, stride):
        raise ValueError(f"'{CUT}' is not how its filters cut its image")
    found = Embedding(kernel, stride, image, filters, tensors.get(TOKENS))
    down, across = found.grid
    if found.tokens is not None and len(found.tokens) < down * across:
        raise ValueError(f"'{TOKENS}' has {len(found.tokens)} tokens for {down * across} patches")
    return found
