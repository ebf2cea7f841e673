"""Lengths and random directions in the norm of the threat model."""

from __future__ import annotations

import torch
from torch import Tensor

from robench.contracts.task import Task
from robench.contracts.threat_model import ThreatModel


def length(threat: ThreatModel, delta: Tensor) -> Tensor:
    """Return the norm of each perturbation ``delta`` (N, C, H, W), shaped (N, 1, 1, 1) so that it divides images."""
    return threat.distance(torch.zeros_like(delta), delta).view(-1, 1, 1, 1)


def random_direction(images: Tensor, task: Task, *words: object) -> Tensor:
    """Return one random perturbation of norm 1 an image, the same in every batch (N, C, H, W).

    A uniform draw from the cube, divided by its norm: a point on the face of the Linf or L1 ball or on the L2 sphere.
    """
    unit = task.uniform(images, *words)
    return unit / length(task.threat, unit).clamp_min(torch.finfo(unit.dtype).tiny)
