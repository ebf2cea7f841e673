"""The CIFAR ResNet of He et al., in the two layouts in which its weights circulate."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

#: ``A``: parameter-free shortcut, head ``linear`` (akamaster); ``B``: 1x1 convolution, head ``fc`` (chenyaofo).
Option = Literal["A", "B"]

WIDTHS = (16, 32, 64)


class BasicBlock(nn.Module):
    """Add two 3x3 convolutions to a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, option: Option) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.added = outputs - inputs
        self.downsample: nn.Module | None = None
        if option == "B" and (stride != 1 or self.added):
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, outputs, H / stride, W / stride)."""
        out = F.relu(self.bn1(self.conv1(maps)))
        return F.relu(self.bn2(self.conv2(out)) + self._shortcut(maps))

    def _shortcut(self, maps: Tensor) -> Tensor:
        if self.downsample is not None:
            shortcut: Tensor = self.downsample(maps)
            return shortcut
        if not self.added:
            return maps
        # Option A: every second pixel; half of the new channels before, half after.
        half = self.added // 2
        return F.pad(maps[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.added - half))


class CifarResNet(nn.Module):
    """Classify normalised 32 x 32 images; depth is 6 times ``blocks`` plus 2."""

    def __init__(self, classes: int, option: Option, blocks: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = _stage(WIDTHS[0], WIDTHS[0], blocks, 1, option)
        self.layer2 = _stage(WIDTHS[0], WIDTHS[1], blocks, 2, option)
        self.layer3 = _stage(WIDTHS[1], WIDTHS[2], blocks, 2, option)
        self.head = "linear" if option == "A" else "fc"
        self.add_module(self.head, nn.Linear(WIDTHS[2], classes))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        maps = F.relu(self.bn1(self.conv1(pixels)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        logits: Tensor = self.get_submodule(self.head)(torch.mean(maps, dim=(2, 3)))
        return logits


def _stage(inputs: int, outputs: int, blocks: int, stride: int, option: Option) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride, option)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1, option) for _ in range(blocks - 1)))


def draw(module: nn.Module) -> None:
    """Draw a convolution's weights as He et al. do: normal, with variance 2 / (outputs * 9)."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
