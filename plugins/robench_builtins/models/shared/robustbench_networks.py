"""The network families of RobustBench's CIFAR models, under the names of their tensors there; imported with torch.

WideResNet (Zagoruyko and Komodakis 2016), DeepMind's variants of it and of the pre-activation ResNet (Gowal et al.
2020), and the ResNet and pre-activation ResNet of He et al. for images of 32 x 32. None of them normalises: what its
entry of the zoo subtracts and divides by is the classifier's preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

Activation = Callable[[], nn.Module]

#: Side of the maps before the last mean: 32 pixels, halved twice or three times.
WIDE, DEEP = 8, 4


class WideBlock(nn.Module):
    """Add two 3x3 convolutions of normalised, rectified maps to a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, outputs, H / stride, W / stride)."""
        ready = F.relu(self.bn1(maps))
        shortcut = maps if self.convShortcut is None else self.convShortcut(ready)
        added: Tensor = shortcut + self.conv2(F.relu(self.bn2(self.conv1(ready))))
        return added


class WideGroup(nn.Module):
    """Hold the blocks of one resolution."""

    def __init__(self, blocks: int, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        first = WideBlock(inputs, outputs, stride)
        self.layer = nn.Sequential(first, *(WideBlock(outputs, outputs, 1) for _ in range(blocks - 1)))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the last block's maps."""
        out: Tensor = self.layer(maps)
        return out


class WideResNet(nn.Module):
    """Classify images of 32 x 32; ``unused`` is a copy of the first group that some checkpoints hold and none runs."""

    def __init__(self, classes: int, depth: int, width: int, unused: bool = False) -> None:
        super().__init__()
        widths, blocks = (16, 16 * width, 32 * width, 64 * width), (depth - 4) // 6
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.block1 = WideGroup(blocks, widths[0], widths[1], 1)
        if unused:
            self.sub_block1 = WideGroup(blocks, widths[0], widths[1], 1)
        self.block2 = WideGroup(blocks, widths[1], widths[2], 2)
        self.block3 = WideGroup(blocks, widths[2], widths[3], 2)
        self.bn1 = nn.BatchNorm2d(widths[3])
        self.fc = nn.Linear(widths[3], classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        maps = self.block3(self.block2(self.block1(self.conv1(pixels))))
        return _head(F.relu(self.bn1(maps)), WIDE, self.fc)


class DmBlock(nn.Module):
    """As WideBlock; a convolution with a stride sees one row and column of zeros, below and to the right."""

    def __init__(self, inputs: int, outputs: int, stride: int, activation: Activation) -> None:
        super().__init__()
        self.batchnorm_0 = nn.BatchNorm2d(inputs)
        self.relu_0 = activation()
        self.conv_0 = nn.Conv2d(inputs, outputs, 3, stride, bias=False)
        self.batchnorm_1 = nn.BatchNorm2d(outputs)
        self.relu_1 = activation()
        self.conv_1 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, outputs, H / stride, W / stride)."""
        ready = self.relu_0(self.batchnorm_0(maps))
        shortcut = maps if self.shortcut is None else self.shortcut(ready)
        inner = self.relu_1(self.batchnorm_1(self.conv_0(_padded(ready, self.stride))))
        added: Tensor = shortcut + self.conv_1(inner)
        return added


class DmGroup(nn.Module):
    """Hold the blocks of one resolution."""

    def __init__(self, blocks: int, inputs: int, outputs: int, stride: int, activation: Activation) -> None:
        super().__init__()
        first = DmBlock(inputs, outputs, stride, activation)
        self.block = nn.Sequential(first, *(DmBlock(outputs, outputs, 1, activation) for _ in range(blocks - 1)))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the last block's maps."""
        out: Tensor = self.block(maps)
        return out


class DmWideResNet(nn.Module):
    """Classify normalised images of 32 x 32, as DeepMind's code does."""

    def __init__(self, classes: int, depth: int, width: int, activation: Activation) -> None:
        super().__init__()
        widths, blocks = (16, 16 * width, 32 * width, 64 * width), (depth - 4) // 6
        self.init_conv = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        pairs = zip(widths, widths[1:], (1, 2, 2), strict=False)
        self.layer = nn.Sequential(*(DmGroup(blocks, *pair, activation) for pair in pairs))
        self.batchnorm = nn.BatchNorm2d(widths[3])
        self.relu = activation()
        self.logits = nn.Linear(widths[3], classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        return _head(self.relu(self.batchnorm(self.layer(self.init_conv(pixels)))), WIDE, self.logits)


class DmPreActBlock(nn.Module):
    """Add two 3x3 convolutions of normalised, rectified maps to a shortcut, itself a 3x3 convolution of raw maps."""

    def __init__(self, inputs: int, outputs: int, stride: int, activation: Activation) -> None:
        super().__init__()
        self.batchnorm_0 = nn.BatchNorm2d(inputs)
        self.relu_0 = activation()
        self.conv_2d_1 = nn.Conv2d(inputs, outputs, 3, stride, bias=False)
        self.batchnorm_1 = nn.BatchNorm2d(outputs)
        self.relu_1 = activation()
        self.conv_2d_2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 3, stride, bias=False) if changes else None
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, outputs, H / stride, W / stride)."""
        shortcut = maps if self.shortcut is None else self.shortcut(_padded(maps, self.stride))
        inner = self.conv_2d_1(_padded(self.relu_0(self.batchnorm_0(maps)), self.stride))
        added: Tensor = shortcut + self.conv_2d_2(self.relu_1(self.batchnorm_1(inner)))
        return added


class DmPreActResNet(nn.Module):
    """Classify normalised images of 32 x 32 by a pre-activation ResNet-18, as DeepMind's code does."""

    def __init__(self, classes: int, activation: Activation) -> None:
        super().__init__()
        self.conv_2d = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        for place, (inputs, outputs) in enumerate(((64, 64), (64, 128), (128, 256), (256, 512))):
            first = DmPreActBlock(inputs, outputs, 1 if place == 0 else 2, activation)
            self.add_module(f"layer_{place}", nn.Sequential(first, DmPreActBlock(outputs, outputs, 1, activation)))
        self.batchnorm = nn.BatchNorm2d(512)
        self.relu = activation()
        self.logits = nn.Linear(512, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        maps = self.conv_2d(pixels)
        for place in range(4):
            maps = self.get_submodule(f"layer_{place}")(maps)
        return _head(self.relu(self.batchnorm(maps)), DEEP, self.logits)


class ResNetBlock(nn.Module):
    """Add two 3x3 convolutions, or one between two of 1x1 where ``wide``, to a shortcut, and rectify."""

    def __init__(self, inputs: int, planes: int, stride: int, wide: bool) -> None:
        super().__init__()
        outputs = 4 * planes if wide else planes
        self.conv1 = nn.Conv2d(inputs, planes, 1 if wide else 3, 1 if wide else stride, 0 if wide else 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride if wide else 1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.wide = wide
        if wide:
            self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(outputs)
        changes = stride != 1 or inputs != outputs
        projection = [nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)] if changes else []
        self.shortcut = nn.Sequential(*projection)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the block's width."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps)))))
        if self.wide:
            out = self.bn3(self.conv3(F.relu(out)))
        return F.relu(out + self.shortcut(maps))


class PreActBlock(nn.Module):
    """Add two 3x3 convolutions of normalised, rectified maps to a shortcut, which takes the maps ``raw`` or so."""

    def __init__(self, inputs: int, outputs: int, stride: int, raw: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False)) if changes else None
        self.raw = raw

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, outputs, H / stride, W / stride)."""
        ready = F.relu(self.bn1(maps))
        shortcut = maps if self.shortcut is None else self.shortcut(maps if self.raw else ready)
        added: Tensor = shortcut + self.conv2(F.relu(self.bn2(self.conv1(ready))))
        return added


class ResNet(nn.Module):
    """Classify images of 32 x 32 by a ResNet of four resolutions, 18 or 50 layers deep."""

    def __init__(self, classes: int, depth: Literal[18, 50]) -> None:
        super().__init__()
        wide, blocks = depth == 50, (3, 4, 6, 3) if depth == 50 else (2, 2, 2, 2)
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs, grown = 64, 4 if wide else 1
        for place, (planes, count) in enumerate(zip((64, 128, 256, 512), blocks, strict=True), 1):
            first = ResNetBlock(inputs, planes, 1 if place == 1 else 2, wide)
            inputs = grown * planes
            rest = (ResNetBlock(inputs, planes, 1, wide) for _ in range(count - 1))
            self.add_module(f"layer{place}", nn.Sequential(first, *rest))
        self.linear = nn.Linear(inputs, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        maps = F.relu(self.bn1(self.conv1(pixels)))
        for place in range(1, 5):
            maps = self.get_submodule(f"layer{place}")(maps)
        return _head(maps, DEEP, self.linear)


class PreActResNet(nn.Module):
    """Classify images of 32 x 32 by a pre-activation ResNet-18.

    Args:
        classes: how many.
        raw: the shortcuts take maps that are not normalised.
        last: normalise and rectify before the last mean.
    """

    def __init__(self, classes: int, raw: bool, last: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        for place, (inputs, outputs) in enumerate(((64, 64), (64, 128), (128, 256), (256, 512)), 1):
            first = PreActBlock(inputs, outputs, 1 if place == 1 else 2, raw)
            self.add_module(f"layer{place}", nn.Sequential(first, PreActBlock(outputs, outputs, 1, raw)))
        self.bn = nn.BatchNorm2d(512) if last else None
        self.linear = nn.Linear(512, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        maps = self.conv1(pixels)
        for place in range(1, 5):
            maps = self.get_submodule(f"layer{place}")(maps)
        return _head(maps if self.bn is None else F.relu(self.bn(maps)), DEEP, self.linear)


class PerImage(nn.Module):
    """Normalise each image by its own mean and standard deviation, as the models of MMA training do."""

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, C, H, W); a flat image is divided by no less than one over the root of its size."""
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        spread = images.std(dim=(1, 2, 3), keepdim=True)
        least = images[0].numel() ** -0.5
        return (images - mean) / torch.clamp_min(spread, least)


def build(family: str, arguments: Sequence[str], classes: int) -> nn.Module:
    """Return the network that an entry of the zoo names, such as ``wrn 28 10``."""
    activations: dict[str, Activation] = {"relu": nn.ReLU, "swish": nn.SiLU, "silu": nn.SiLU}
    if family == "wrn":
        return WideResNet(classes, int(arguments[0]), int(arguments[1]), "unused" in arguments)
    if family == "dm-wrn":
        return DmWideResNet(classes, int(arguments[0]), int(arguments[1]), activations[arguments[2]])
    if family == "dm-preact18":
        return DmPreActResNet(classes, activations[arguments[0]])
    if family == "preact18":
        return PreActResNet(classes, "raw" in arguments, "last" in arguments)
    return ResNet(classes, 50 if family == "resnet50" else 18)


def _padded(maps: Tensor, stride: int) -> Tensor:
    return F.pad(maps, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))


def _head(maps: Tensor, side: int, linear: nn.Linear) -> Tensor:
    logits: Tensor = linear(F.avg_pool2d(maps, side).flatten(1))
    return logits
