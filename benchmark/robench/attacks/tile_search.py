"""Tile search: slopes measured tile by tile instead of taken from a gradient; queries only."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench.attacks.best_so_far import Best
from robench.attacks.losses import margin
from robench.contracts.classifier import Classifier
from robench.contracts.task import Task
from robench.contracts.threat_model import ThreatModel

#: Tiles along each side of the image.
SIDE = 8
#: Shares of the tiles whose sign helps when turned alone that are turned together; the best of them is kept.
TURNED = (1.0, 0.5, 0.25, 0.1)


def tile_queries(rounds: int, side: int = SIDE) -> int:
    """Return the forwards that ``rounds`` of tile search take for one image that is never lost."""
    return side * side + 2 + (rounds - 1) * (side * side + 1 + len(TURNED)) if rounds else 0


def tiles(
    model: Classifier, images: Tensor, labels: Tensor, task: Task, *, rounds: int = 1, side: int = SIDE
) -> Tensor:
    """Return the image of largest margin max_{i != y} z_i - z_y found among flat tiles of the ball (N, C, H, W).

    The image is cut into ``side x side`` tiles, all channels of a tile moving alike. The first round moves one tile at
    a time as far as the ball allows, and then all of them the way that helped. Each further round turns the sign of
    one tile at a time, and then of those together that helped. Masked or misleading gradients do not matter to it, and
    what purification, JPEG or quantisation leave of a perturbation is mostly its low frequencies; so a few dozen
    queries find what random search needs hundreds for. Tiles as a prior: Ilyas, Engstrom and Madry 2019 (arXiv
    1807.07978); flipping corners of the ball: Moon, An and Song 2019 (arXiv 1905.06635). No random numbers.

    Cost of an image that is never lost: ``tile_queries(rounds, side)`` forwards, no backward.

    Args:
        model: logits out; only the margin is looked at.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) true classes.
        task: threat model and ``stop_early``: an image is done after the round of its first error.
        rounds: how often every tile is tried.
        side: tiles along each side; more than there are pixels are as many as there are.
    """
    if task.threat.eps == 0:
        return images.clone()
    side = min(side, *images.shape[2:])
    best = Best(images)
    moves = images.new_zeros(len(images), side * side)
    for turn in range(rounds):
        rows = best.left(task.stop_early)
        if not len(rows):
            break
        search = _Search(model, best, rows, images[rows], labels[rows], task.threat, side)
        moves[rows] = search.turn(moves[rows]) if turn else search.begin(moves[rows])
    return best.images


class _Search(NamedTuple):
    """Hold the images of one round, and ask the model about points near them."""

    model: Classifier
    best: Best
    rows: Tensor
    images: Tensor
    labels: Tensor
    threat: ThreatModel
    side: int

    def begin(self, nowhere: Tensor) -> Tensor:
        """Return how far the margin rises as each tile alone is moved (N, tiles): in Linf only its sign matters."""
        here = self.ask(nowhere)
        single = torch.eye(nowhere.shape[1], device=nowhere.device, dtype=nowhere.dtype)
        slopes = torch.stack([self.ask(tile.expand_as(nowhere)) - here for tile in single], 1)
        # A tile that makes no difference moves all the same: beside others it may.
        moves = slopes.where(slopes != 0, slopes.abs().amax(1, keepdim=True).clamp_min(1e-12) * 1e-3)
        self.ask(moves)
        return moves

    def turn(self, moves: Tensor) -> Tensor:
        """Return ``moves`` (N, tiles) with those signs turned that are found to help."""
        value = self.ask(moves)
        gains = torch.stack([self.ask(self.turned(moves, place)) - value for place in range(moves.shape[1])], 1)
        rank = gains.argsort(1, descending=True).argsort(1)
        helpful = gains > 0
        best, most = moves, value
        for share in TURNED:
            chosen = helpful & (rank < (share * helpful.sum(1, keepdim=True)).ceil())
            candidate = torch.where(chosen, -moves, moves)
            found = self.ask(candidate)
            best = torch.where((found > most)[:, None], candidate, best)
            most = found.maximum(most)
        return best

    @staticmethod
    def turned(moves: Tensor, place: int) -> Tensor:
        """Return ``moves`` with the sign of one tile turned."""
        other = moves.clone()
        other[:, place] *= -1
        return other

    def ask(self, moves: Tensor) -> Tensor:
        """Return the margin (N,) where the tiles are moved by ``moves``, to the edge of the ball."""
        grid = moves.view(-1, 1, self.side, self.side)
        spread = F.interpolate(grid, self.images.shape[2:], mode="nearest").expand_as(self.images)
        points = self.threat.one_step(self.images, spread)
        with torch.no_grad():
            logits = self.model(points)
        value = margin(logits, self.labels)
        self.best.offer(self.rows, points, logits.argmax(1) != self.labels, value)
        return value
