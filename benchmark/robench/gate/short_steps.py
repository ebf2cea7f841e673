"""Steps along one gradient that stop short of the edge of the ball: what a model that notices large steps overlooks.

A model may route by how an image looks (its variation, its brightness, whether it is made of whole grey levels), and
answer from another network whatever an attack has moved far. Every attack that goes to the edge meets that network
alone; the gradient at the clean image is still that of the one which answers near it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

#: Shares of the way to the edge.
LENGTHS = (0.5, 0.25)
#: Shares of the pixel values, those with the largest slopes, that go all the way.
PIXELS = (0.3, 0.1)
#: Answers that are asked for: to each point, and once more to the one that is kept.
SHORT_STEPS = 2 + len(LENGTHS) + len(PIXELS)


def short_steps(images: Tensor, moved: Tensor, gradient: Tensor) -> Iterator[Tensor]:
    """Yield points between ``images`` and ``moved``, which is one whole step along ``gradient``; all (N, C, H, W).

    First the step as a file of bytes holds it, every value rounded towards the image to whole grey levels; then the
    step at some of its length; then that of some of the pixel values alone. In each norm all lie in the ball of
    ``moved``.
    """
    way = moved - images
    levels = (way * 255 * (1 + 1e-6)).trunc()
    on_grid = (images * 255).round() / 255
    bytes_of = ((on_grid * 255 + levels).round() / 255).clamp(0, 1)
    yield torch.where((on_grid - images).abs() < 1e-6, bytes_of, images + levels / 255)
    for length in LENGTHS:
        yield images + length * way
    slopes = gradient.abs().flatten(1)
    for share in PIXELS:
        least = slopes.kthvalue(max(1, round((1 - share) * slopes.shape[1])), dim=1, keepdim=True).values
        yield images + way * (slopes > least).view_as(way)
