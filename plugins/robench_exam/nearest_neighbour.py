"""The nearest neighbour: for each prototype of another class a linear (Linf) or a quadratic program (L2)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from torch import Tensor, nn

from robench import ThreatModel
from robench_exam.ground import PIXELS, Cases, Floats, Ground, random_images, rounded, tensor
from robench_exam.polyhedra import within

IMAGES, CLASSES, EACH = 40, 4, 4
#: A prototype that is behind by more than this whatever the others do needs no program.
CERTAIN = 1e-2


class NearestNeighbour(nn.Module):
    """Answer with the class of the nearest prototype: each class's logit is minus its least squared distance."""

    def __init__(self, prototypes: Tensor) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(prototypes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K) of images (N, C, H, W)."""
        differences = images.flatten(1)[:, None, None] - self.prototypes
        return -differences.square().sum(3).amin(2)


def nearest_neighbour(threat: ThreatModel) -> Ground:
    """Return four classes of four prototypes each; images lie between two prototypes of different classes."""
    generator = np.random.default_rng(3)
    prototypes = random_images(generator, CLASSES * EACH).reshape(CLASSES, EACH, PIXELS)
    cases = Cases.upto(IMAGES, 1e-3)
    while not cases.full:
        one, other = generator.choice(CLASSES, 2, replace=False)
        ends = [prototypes[kind, generator.integers(EACH)] for kind in (one, other)]
        image = rounded(ends[0] + generator.uniform(0.25, 0.5) * (ends[1] - ends[0]))
        distances = np.square(prototypes - image).sum(2)
        label = int(distances.min(1).argmin())
        cases.add(image, label, *_lead(image, label, prototypes, threat))
    return cases.ground(NearestNeighbour(tensor(prototypes)), CLASSES)


def _lead(image: Floats, label: int, prototypes: Floats, threat: ThreatModel) -> tuple[float, Floats]:
    """Return the most by which another class can lead, or in L2 by how much it is too far to lead, and where.

    Wang et al. 2019, Evaluating the Robustness of Nearest Neighbor Classifiers, https://arxiv.org/abs/1906.03972.
    """
    own = prototypes[label]
    found = []
    for other in np.delete(prototypes, label, 0).reshape(-1, PIXELS):
        # |z - own|^2 - |z - other|^2 = 2 (other - own) z + |own|^2 - |other|^2
        rows, constants = 2 * (other - own), np.square(own).sum(1) - np.square(other).sum()
        found.append((_linf if threat.norm == "Linf" else _l2)(image, rows, constants, threat.eps))
    return max(found, key=lambda one: one[0])


def _linf(image: Floats, rows: Floats, constants: Floats, eps: float) -> tuple[float, Floats]:
    low, high = np.maximum(image - eps, 0), np.minimum(image + eps, 1)
    most = np.where(rows > 0, rows * high, rows * low).sum(1) + constants  # for each row by itself
    if most.min() < -CERTAIN:
        return float(most.min()), image
    matrix = np.concatenate([-rows, np.ones((len(rows), 1))], 1)
    done = linprog(
        np.append(np.zeros(PIXELS), -1.0), matrix, constants, bounds=[*zip(low, high, strict=True), (None, None)]
    )
    return -float(done.fun), np.clip(done.x[:-1], low, high)


def _l2(image: Floats, rows: Floats, constants: Floats, eps: float) -> tuple[float, Floats]:
    """Return by how much the radius exceeds the distance at which the other one leads, and where."""
    return within(image, rows, -constants, eps)
