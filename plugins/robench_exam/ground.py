"""What an attack is examined on: a model, images, and for each image whether anything in the ball fools the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robench import Classifier, ThreatModel

Floats = NDArray[np.float64]
#: ``plain``: gradients say where to go. ``masked``: they vanish, or lead astray.
Group = Literal["plain", "masked"]

SHAPE = (3, 8, 8)
PIXELS = 3 * 8 * 8


@dataclass(frozen=True)
class Ground:
    """Hold a model and images that it answers rightly.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,).
        vulnerable: (N,) bool, exact: some point of the ball and the box is answered otherwise.
        witnesses: such a point for each vulnerable image; the image itself for the others.
        training: images and labels that an attack of one perturbation is fitted on; None where there are none.
    """

    model: Classifier
    images: Tensor
    labels: Tensor
    vulnerable: Tensor
    witnesses: Tensor
    training: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class Subject:
    """Name a ground, and say how its truth is known.

    Attributes:
        story: what the model is.
        truth: how it is decided for each image.
        shared: whether attacks of one perturbation for all images are examined on it, and no others.
        kind: of which common corruption the truth is known; empty if of none.
    """

    name: str
    group: Group
    threat: ThreatModel
    story: str
    truth: str
    make: Callable[[ThreatModel], Ground]
    shared: bool = False
    kind: str = ""


@dataclass
class Cases:
    """Collect images whose truth is certain, up to ``wanted``.

    Images are left out whose largest margin of error lies so near to 0 that float32, in which models answer, could
    decide either way.
    """

    wanted: int
    tie: float
    images: list[Floats]
    labels: list[int]
    vulnerable: list[bool]
    witnesses: list[Floats]

    @classmethod
    def upto(cls, wanted: int, tie: float) -> Cases:
        """Return an empty collection."""
        return cls(wanted, tie, [], [], [], [])

    @property
    def full(self) -> bool:
        """Tell whether there are enough."""
        return len(self.images) >= self.wanted

    def add(self, image: Floats, label: int, lead: float, witness: Floats) -> None:
        """Take an image in, if its truth is certain.

        Args:
            image: (D,) pixels.
            label: the model's answer.
            lead: the most by which another class can lead in the ball; negative if none can.
            witness: (D,) where it does.
        """
        if abs(lead) > self.tie:
            self.images.append(image)
            self.labels.append(label)
            self.vulnerable.append(lead > 0)
            self.witnesses.append(witness if lead > 0 else image)

    def ground(self, network: nn.Module, classes: int) -> Ground:
        """Return the ground of a network on these images."""
        model = Classifier(network, classes).eval().requires_grad_(False)
        images, witnesses = (as_images(np.stack(part)) for part in (self.images, self.witnesses))
        return Ground(model, images, torch.tensor(self.labels), torch.tensor(self.vulnerable), witnesses)


def as_images(pixels: Floats) -> Tensor:
    """Return (N, D) pixels as float32 images (N, C, H, W)."""
    return torch.from_numpy(pixels.astype(np.float32)).view(-1, *SHAPE)


def rounded(values: Floats) -> Floats:
    """Return values as float32 holds them: the truth is that of the model that is attacked."""
    return values.astype(np.float32).astype(np.float64)


def tensor(values: Floats) -> Tensor:
    """Return values as a float32 tensor."""
    return torch.from_numpy(np.ascontiguousarray(values.astype(np.float32)))


def random_images(generator: np.random.Generator, count: int) -> Floats:
    """Return (N, D) pixels, one in thirteen of them black or white: the box counts."""
    return rounded(np.clip(0.5 + 0.28 * generator.standard_normal((count, PIXELS)), 0.0, 1.0))
