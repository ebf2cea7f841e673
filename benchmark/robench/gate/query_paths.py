"""How an attack moved from query to query, image by image, seen from the model that it asked."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench.contracts.threat_model import BALL_TOLERANCE, ThreatModel


class QueryPath(NamedTuple):
    """Hold what one image's queries were.

    Attributes:
        steps: how far each query lay from the one before.
        won: whether a query inside the ball and the box was answered wrongly.
        losses: the cross-entropy of each answer.
    """

    steps: list[float]
    won: list[bool]
    losses: list[float]


class QueryPaths:
    """Note the queries of an attack on a batch, as a forward hook of the model it asks; points are not kept.

    Args:
        images: (N, C, H, W) clean images of the batch.
        labels: (N,) true classes.
        threat: what the attack is held to.
    """

    def __init__(self, images: Tensor, labels: Tensor, threat: ThreatModel) -> None:
        self._images, self._labels, self._threat = images, labels, threat
        self._last = images.clone()
        self._everything = torch.arange(len(images), device=images.device)
        self._noted: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    @torch.no_grad()
    def note(self, _module: Any, inputs: tuple[Tensor, ...], logits: Tensor) -> None:
        """Take down one query; of more points than there are images it is not known whose they are."""
        if not isinstance(logits, Tensor) or len(inputs[0]) > len(self._images):
            return
        points, logits = inputs[0].detach(), logits.detach()
        rows = self._whose(points)
        images, labels = self._images[rows], self._labels[rows]
        inside = self._threat.distance(images, points) <= self._threat.eps + BALL_TOLERANCE
        inside &= ((points >= 0) & (points <= 1)).flatten(1).all(1)
        won = inside & (logits.argmax(1) != labels)
        loss = F.cross_entropy(logits, labels, reduction="none")
        self._noted.append((rows, self._threat.distance(self._last[rows], points), won, loss))
        self._last[rows] = points

    def _whose(self, points: Tensor) -> Tensor:
        """Return the places of the images that these are points of: all, or where some have left the nearest."""
        if len(points) == len(self._images):
            return self._everything
        far = (points[:, None] - self._images[None]).flatten(2).abs().amax(2)
        return far.argmin(1)

    def by_image(self) -> list[QueryPath]:
        """Return the path of each image."""
        paths = [QueryPath([], [], []) for _ in self._images]
        if not self._noted:
            return paths
        columns = [torch.cat(column).tolist() for column in zip(*self._noted, strict=True)]
        for place, step, won, loss in zip(*columns, strict=True):
            path = paths[place]
            if path.losses:  # the first query comes from nowhere
                path.steps.append(step)
            path.won.append(won)
            path.losses.append(loss)
        return paths
