"""Linear maps: how far a linear function falls in the ball and the box, in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from robench import ThreatModel
from robench_exam.ground import PIXELS, SHAPE, Cases, Floats, Ground, random_images, rounded, tensor

IMAGES, CLASSES = 60, 10


def lowest(direction: Floats, image: Floats, threat: ThreatModel) -> Floats:
    """Return the point (D,) of the ball and the box in which ``direction`` (D,) times it is least.

    L0: the pixels whose channels together gain most at the edges of the box. Patch: the square that does, of all.
    Linf: each pixel by itself. L2: the change is ``-t * direction``, cut off at the box, with the largest t that
    stays in the ball (the Karush-Kuhn-Tucker conditions of a linear function on a ball and a box).
    """
    low, high = -image, 1 - image
    if threat.norm in ("L0", "patch"):
        corner = np.where(direction > 0, 0.0, np.where(direction < 0, 1.0, image))
        return np.where(_chosen(direction * (image - corner), threat), corner, image)
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


def _chosen(gains: Floats, threat: ThreatModel) -> NDArray[np.bool_]:
    """Return (D,) bool: the pixels, or the square, in which the gains of all channels come to most."""
    pixels, count = gains.reshape(SHAPE).sum(0), int(threat.eps)
    chosen = np.zeros(SHAPE[1:], dtype=bool)
    if threat.norm == "L0":
        chosen.reshape(-1)[np.argsort(-pixels, axis=None, kind="stable")[:count]] = True
    else:
        totals = np.lib.stride_tricks.sliding_window_view(pixels, (count, count)).sum((2, 3))
        top, left = np.unravel_index(totals.argmax(), totals.shape)
        chosen[top : top + count, left : left + count] = True
    return np.broadcast_to(chosen, SHAPE).reshape(-1)


def linear(threat: ThreatModel) -> Ground:
    """Return ten classes told apart by a linear map."""
    return _linear(threat, 1.0)


def overconfident(threat: ThreatModel) -> Ground:
    """Return the same map times 3,000: the cross-entropy's gradient is 0 in float32 at almost every image."""
    return _linear(threat, 3000.0)


def _surer(image: Floats, weight: Floats, generator: np.random.Generator) -> Floats:
    """Return an image moved towards its class by up to a length of 1.6, since a few pixels of any colour go far."""
    way = weight[int((weight @ image).argmax())] - weight.mean(0)
    return rounded(np.clip(image + generator.uniform(0, 1.6) * way / np.linalg.norm(way), 0, 1))


def _linear(threat: ThreatModel, scale: float) -> Ground:
    generator = np.random.default_rng(0)
    weight = rounded(scale * generator.standard_normal((CLASSES, PIXELS)) / np.sqrt(PIXELS))
    cases = Cases.upto(IMAGES, 1e-3 * scale)
    for raw in random_images(generator, 4 * IMAGES):
        image = _surer(raw, weight, generator) if threat.norm in ("L0", "patch") else raw
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
