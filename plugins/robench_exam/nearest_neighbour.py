"""The nearest neighbour: for each prototype of another class a linear (Linf) or a quadratic program (L2)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from torch import Tensor, nn

from robench import ThreatModel
from robench_exam.ground import PIXELS, SHAPE, Cases, Floats, Ground, random_images, rounded, tensor
from robench_exam.linear_maps import lowest
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
    return _between_prototypes(threat, np.random.default_rng(3), CLASSES, EACH, IMAGES)


def _between_prototypes(
    threat: ThreatModel, generator: np.random.Generator, classes: int, each: int, images: int
) -> Ground:
    prototypes = random_images(generator, classes * each).reshape(classes, each, PIXELS)
    cases = Cases.upto(images, 1e-3)
    while not cases.full:
        one, other = generator.choice(classes, 2, replace=False)
        ends = [prototypes[kind, generator.integers(each)] for kind in (one, other)]
        image = rounded(ends[0] + generator.uniform(0.25, 0.5) * (ends[1] - ends[0]))
        distances = np.square(prototypes - image).sum(2)
        label = int(distances.min(1).argmin())
        cases.add(image, label, *_lead(image, label, prototypes, threat))
    return cases.ground(NearestNeighbour(tensor(prototypes)), classes)


def few_neighbours(threat: ThreatModel) -> Ground:
    """Return three classes of two prototypes each, among which a mixed-integer program chooses pixels."""
    return _between_prototypes(threat, np.random.default_rng(5), 3, 2, 20)


def _lead(image: Floats, label: int, prototypes: Floats, threat: ThreatModel) -> tuple[float, Floats]:
    """Return the most by which another class can lead, or in L2 by how much it is too far to lead, and where.

    Wang et al. 2019, Evaluating the Robustness of Nearest Neighbor Classifiers, https://arxiv.org/abs/1906.03972.
    """
    own = prototypes[label]
    found = []
    for other in np.delete(prototypes, label, 0).reshape(-1, PIXELS):
        # |z - own|^2 - |z - other|^2 = 2 (other - own) z + |own|^2 - |other|^2
        rows, constants = 2 * (other - own), np.square(own).sum(1) - np.square(other).sum()
        solve = {"Linf": _linf, "L2": _l2, "L0": _l0}[threat.norm]
        found.append(solve(image, rows, constants, threat.eps))
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


def _l0(image: Floats, rows: Floats, constants: Floats, eps: float) -> tuple[float, Floats]:
    """Return the most by which the other one leads where ``eps`` pixels may be any colour, and where.

    Of one own prototype the pixels of largest gain. Of several a mixed-integer program: a pixel's channels move within
    the box where its 0 or 1 is 1, and at most so many are.
    """
    threat = ThreatModel("L0", eps)
    ends = [lowest(-row, image, threat) for row in rows]
    most = min(float(row @ end + constant) for row, end, constant in zip(rows, ends, constants, strict=True))
    if most < -CERTAIN:
        return most, image
    places, count = SHAPE[1] * SHAPE[2], len(rows)
    whose = np.tile(np.eye(places), (SHAPE[0], 1))  # (D, pixels): which channel values belong to which pixel
    held = np.concatenate([np.eye(PIXELS), -(1 - image)[:, None] * whose, np.zeros((PIXELS, 1))], 1)
    kept = np.concatenate([-np.eye(PIXELS), -image[:, None] * whose, np.zeros((PIXELS, 1))], 1)
    leads = np.concatenate([-rows, np.zeros((count, places)), np.ones((count, 1))], 1)
    few = np.concatenate([np.zeros(PIXELS), np.ones(places), [0.0]])[None]
    limits = np.concatenate([np.zeros(2 * PIXELS), rows @ image + constants, [eps]])
    free = np.concatenate([-image, np.zeros(places), [-np.inf]]), np.concatenate([1 - image, np.ones(places), [np.inf]])
    done = milp(
        np.append(np.zeros(PIXELS + places), -1.0),
        constraints=LinearConstraint(np.concatenate([held, kept, leads, few]), -np.inf, limits),
        bounds=Bounds(*free),
        integrality=np.concatenate([np.zeros(PIXELS), np.ones(places), [0.0]]),
    )
    changed = np.tile(done.x[PIXELS : PIXELS + places] > 0.5, SHAPE[0])
    point = np.where(changed, np.clip(image + done.x[:PIXELS], 0, 1), image)
    return float((rows @ point + constants).min()), point
