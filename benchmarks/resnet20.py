"""A network of ResNet-20's shape with random weights: its passes cost what the real one's cost."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

SHAPE = (3, 32, 32)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.stride, self.extra = stride, outputs - inputs

    def forward(self, x):
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))
        x = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(x)) + shortcut)


def resnet20():
    """Return the network, in eval mode.

    The logits are centred, since with random weights one class would win everywhere, whatever the attack.
    """
    torch.manual_seed(0)
    widths = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
    stem = (nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    network = nn.Sequential(*stem, *(Block(*width) for width in widths), *head)
    images = torch.rand(256, *SHAPE)
    with torch.no_grad():
        for _ in range(5):
            network.train()(images)  # so that the running statistics are those of some images
        network[-1].bias -= network.eval()(images).mean(0)
    return network
