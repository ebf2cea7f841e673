"""What a query of the Square attack changes: flat squares in Linf, pairs of bumps in L2 and L1."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robench.contracts.task import Task
from robench.contracts.threat_model import Norm, ThreatModel


def patches_for(shape: Sequence[int], threat: ThreatModel) -> Patches:
    """Return the patches for images of ``shape`` (N, C, H, W) in the norm of ``threat``."""
    kinds: dict[Norm, type[Patches]] = {"Linf": FlatSquares, "L2": Bumps, "L1": SparseBumps}
    channels, height, long = shape[1:]
    return kinds[threat.norm](channels, height, long, threat.eps)


@dataclass(frozen=True)
class Patches(ABC):
    """Propose points of the ball for images of ``channels x height x long``, from numbers drawn in U[-1, 1]."""

    channels: int
    height: int
    long: int
    eps: float

    #: The smallest side of a window, and whether sides must be odd.
    smallest: ClassVar[int] = 1
    odd: ClassVar[bool] = False

    @property
    @abstractmethod
    def width(self) -> int:
        """Return how many random numbers a query takes."""

    @abstractmethod
    def start(self, images: Tensor, task: Task, restart: int) -> Tensor:
        """Return the first point of each image (N, C, H, W)."""

    @abstractmethod
    def change(self, images: Tensor, here: Tensor, draws: Tensor, side: int) -> Tensor:
        """Return ``here`` with one window changed, by the numbers ``draws`` (N, width)."""

    def side(self, share: float) -> int:
        """Return the side of a window that covers ``share`` of the pixels."""
        side = max(round(math.sqrt(share * self.height * self.long)), self.smallest)
        if self.odd and side % 2 == 0:
            side += 1
        return min(side, self.height, self.long)

    def window(self, draws: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the index that picks windows (N, C, side, side), placed by ``draws`` (N, 2)."""
        inside = torch.arange(side, device=draws.device)
        corners = []
        for draw, length in ((draws[:, 0], self.height), (draws[:, 1], self.long)):
            last = length - side
            # A draw of exactly 1 would fall off the end.
            corners.append(((draw + 1) / 2 * (last + 1)).long().clamp_max(last)[:, None] + inside)
        image = torch.arange(len(draws), device=draws.device).view(-1, 1, 1, 1)
        channel = torch.arange(self.channels, device=draws.device).view(1, -1, 1, 1)
        return image, channel, corners[0][:, None, :, None], corners[1][:, None, None, :]


class FlatSquares(Patches):
    """Set a window to +-eps, one sign a channel."""

    @property
    def width(self) -> int:
        """Return the count: a place and the signs."""
        return 2 + self.channels

    def start(self, images: Tensor, task: Task, restart: int) -> Tensor:
        """Return vertical stripes of +-eps, one sign a column and channel."""
        stripes = _sign(task.uniform(images[:, :, :1], "stripes", restart))
        return (images + self.eps * stripes).clamp(0.0, 1.0)

    def change(self, images: Tensor, here: Tensor, draws: Tensor, side: int) -> Tensor:
        """Return ``here`` with a window of the image moved by +-eps."""
        window = self.window(draws, side)
        signs = _sign(draws[:, 2:])[:, :, None, None]
        found = here.clone()
        found[window] = (images[window] + self.eps * signs).clamp(0.0, 1.0)
        return found


class Bumps(Patches):
    """Move the budget of one window into another, shaped as two opposite pyramids."""

    smallest = 3
    odd = True

    @property
    def width(self) -> int:
        """Return the count: two places, an orientation and the signs."""
        return 5 + self.channels

    def start(self, images: Tensor, task: Task, restart: int) -> Tensor:
        """Return a grid of 5 x 5 bumps, one sign a channel and one orientation each, together of length eps."""
        tile = max(self.height // 5, 1)
        down, across = self.height // tile, self.long // tile
        draws = task.uniform(images.new_empty(len(images), 1 + self.channels, down, across), "bumps", restart)
        draws = draws.repeat_interleave(tile, 2).repeat_interleave(tile, 3)
        bump = self.bump(tile, images.device)
        upright, turned = bump.repeat(down, across), bump.T.repeat(down, across)
        top, left = (self.height - down * tile) // 2, (self.long - across * tile) // 2
        delta = torch.zeros_like(images)
        delta[:, :, top : top + down * tile, left : left + across * tile] = _sign(draws[:, 1:]) * torch.where(
            draws[:, :1] > 0, turned, upright
        )
        return self.full(images, delta)

    def change(self, images: Tensor, here: Tensor, draws: Tensor, side: int) -> Tensor:
        """Return ``here`` with the second window emptied into the first, which also gets what eps leaves unspent."""
        delta = here - images
        first, second = (self.window(draws[:, at : at + 2], side) for at in (0, 2))
        both = torch.zeros_like(delta)
        both[first], both[second] = delta[first], delta[second]
        budget = self.budget(delta, both)
        bump = self.bump(side, images.device)
        turned = (draws[:, 4] > 0).view(-1, 1, 1, 1)
        fresh = torch.where(turned, bump.T, bump) * _sign(draws[:, 5:])[:, :, None, None]
        fresh = self.unit(fresh + self.unit(delta[first]))
        delta[second] = 0.0
        delta[first] = fresh * budget
        return self.full(images, delta)

    def bump(self, side: int, device: torch.device) -> Tensor:
        """Return a bump (side, side) of length 1."""
        return two_pyramids(side, device)

    def budget(self, delta: Tensor, both: Tensor) -> Tensor:
        """Return how long the new bump may be, channel by channel (N, C, 1, 1), ``both`` being the two windows."""
        unspent = (self.eps**2 - delta.square().sum((1, 2, 3), keepdim=True)).clamp_min(0.0) / self.channels
        return (unspent + both.square().sum((2, 3), keepdim=True)).sqrt()

    def unit(self, windows: Tensor) -> Tensor:
        """Return windows (N, C, S, S) divided by their lengths, channel by channel."""
        return windows / windows.square().sum((2, 3), keepdim=True).sqrt().clamp_min(1e-12)

    def full(self, images: Tensor, delta: Tensor) -> Tensor:
        """Return the images moved by ``delta`` stretched to length eps, in the box."""
        # In float64: at 224 x 224 float32 measures delta 2e-6 too short, and what it is stretched to lies outside.
        size: Tensor = delta.flatten(1).double().norm(dim=1).clamp_min(1e-12).to(delta.dtype).view(-1, 1, 1, 1)
        return (images + self.eps * delta / size).clamp(0.0, 1.0)


class SparseBumps(Bumps):
    """Do the same in L1, with bumps that are steeper, and larger than eps allows before they are projected."""

    def bump(self, side: int, device: torch.device) -> Tensor:
        """Return a bump (side, side) whose values sum to 1, but for their signs."""
        return two_pyramids(side, device, norm=1)

    def budget(self, delta: Tensor, both: Tensor) -> Tensor:
        """Return the length of the new bump (N, C, 1, 1): of each channel what there is for all of them."""
        unspent = (self.eps - delta.abs().sum((1, 2, 3), keepdim=True)).clamp_min(0.0)
        return unspent + both.abs().sum((2, 3), keepdim=True) * self.channels

    def unit(self, windows: Tensor) -> Tensor:
        """Return windows (N, C, S, S) divided by their lengths, channel by channel."""
        return windows / windows.abs().sum((2, 3), keepdim=True).clamp_min(1e-12)

    def full(self, images: Tensor, delta: Tensor) -> Tensor:
        """Return the point of the ball and the box nearest to the images moved by ``delta``: only peaks are left."""
        return ThreatModel("L1", self.eps).project(images, images + delta)


def two_pyramids(side: int, device: torch.device, norm: int = 2) -> Tensor:
    """Return the bump (side, side) of length 1 in L2 or L1: a pyramid over one that points the other way."""
    half = side // 2
    bump = torch.cat([_pyramid(half, side, norm), -_pyramid(side - half, side, norm)])
    unit: Tensor = bump / bump.norm(p=norm)
    return unit.to(device)


def _pyramid(height: int, long: int, norm: int) -> Tensor:
    """Return (height, long) of length 1, whose layer k, 2k + 1 wide around the centre, adds 1 / (k + 1)^2, in L1 ^4."""
    layers = max(height, long) // 2 + 1
    falling = 1 / torch.arange(1, layers + 1, dtype=torch.float32) ** (4 // norm)
    from_outside = falling.flip(0).cumsum(0).flip(0)
    rows, columns = torch.arange(height) - height // 2, torch.arange(long) - long // 2
    pyramid: Tensor = from_outside[torch.maximum(rows.abs()[:, None], columns.abs()[None, :])]
    pyramid /= pyramid.norm(p=norm).clamp_min(1e-12)
    return pyramid


def _sign(draws: Tensor) -> Tensor:
    return torch.where(draws > 0, 1.0, -1.0)
