"""Linear maps: how far a linear function falls in the ball and the box, in closed form."""

from __future__ import annotations

import numpy as np
from torch import nn

from robench import ThreatModel
from robench_exam.ground import PIXELS, Cases, Floats, Ground, random_images, rounded, tensor

IMAGES, CLASSES = 60, 10


def lowest(direction: Floats, image: Floats, threat: ThreatModel) -> Floats:
    """Return the point (D,) of the ball and the box in which ``direction`` (D,) times it is least.

    Linf: each pixel by itself. L2: the change is ``-t * direction``, cut off at the box, with the largest t that
    stays in the ball (the Karush-Kuhn-Tucker conditions of a linear function on a ball and a box).
    """
    low, high = -image, 1 - image
    if threat.norm == "Linf":
        low, high = np.maximum(low, -threat.eps), np.minimum(high, threat.eps)
        return image + np.where(direction > 0, low, np.where(direction < 0, high, 0.0))
    most = np.where(direction > 0, low, np.where(direction < 0, high, 0.0))
    if np.linalg.norm(most) <= threat.eps:
        return image + most
    sizes, ends = np.abs(direction), np.abs(most)
    moving = sizes > 0
    # A pixel meets the box at the multiplier ends / sizes. Between two of these the squared length is A + t^2 B.
    met = np.sort(ends[moving] / sizes[moving])
    order = np.argsort(ends[moving] / sizes[moving])
    stopped = np.concatenate([[0.0], np.cumsum(np.square(ends[moving][order]))])
    going = np.square(sizes[moving]).sum() - np.concatenate([[0.0], np.cumsum(np.square(sizes[moving][order]))])
    place = int(np.searchsorted(stopped[:-1] + np.square(met) * going[:-1], threat.eps**2))
    multiplier = np.sqrt((threat.eps**2 - stopped[place]) / going[place])
    point: Floats = image + np.clip(-multiplier * direction, low, high)
    return point


def linear(threat: ThreatModel) -> Ground:
    """Return ten classes told apart by a linear map."""
    return _linear(threat, 1.0)


def overconfident(threat: ThreatModel) -> Ground:
    """Return the same map times 3,000: the cross-entropy's gradient is 0 in float32 at almost every image."""
    return _linear(threat, 3000.0)


def _linear(threat: ThreatModel, scale: float) -> Ground:
    generator = np.random.default_rng(0)
    weight = rounded(scale * generator.standard_normal((CLASSES, PIXELS)) / np.sqrt(PIXELS))
    cases = Cases.upto(IMAGES, 1e-3 * scale)
    for image in random_images(generator, 4 * IMAGES):
        label = int((weight @ image).argmax())
        leads = []
        for other in range(CLASSES):
            if other != label:
                direction = weight[label] - weight[other]
                point = lowest(direction, image, threat)
                leads.append((-float(direction @ point), other, point))
        lead, _, point = max(leads, key=lambda found: found[0])
        if not cases.full:
            cases.add(image, label, lead, point)
    layer = nn.Linear(PIXELS, CLASSES, bias=False)
    layer.weight.data = tensor(weight)
    return cases.ground(nn.Sequential(nn.Flatten(), layer), CLASSES)
