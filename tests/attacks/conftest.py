"""Models whose smallest perturbations are known by hand, a small trained net, and tasks to attack them in."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robench import Classifier, Task, ThreatModel
from robench.evidence.meter import Meter

SHAPE = (3, 8, 8)
SIZE = 3 * 8 * 8


class Linear(nn.Module):
    """Score class k by w_k.(x - 0.5), times a scale."""

    def __init__(self, weights, scale=1.0):
        super().__init__()
        self.register_buffer("weights", weights)
        self.scale = scale

    def forward(self, images):
        return self.scale * (images - 0.5).flatten(1) @ self.weights.T


def task(norm="Linf", eps=0.02, classes=10, **fields):
    return Task(classes=("c",) * classes, shape=SHAPE, threat_model=ThreatModel(norm, eps), **fields)


def frozen(network, classes):
    return Classifier(network, classes).eval().requires_grad_(False)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def two_sided(scale=1.0):
    """Return a linear model of two classes with the direction w that divides them."""
    w = torch.randn(SIZE, generator=generator(3)) / SIZE
    return frozen(Linear(torch.stack([w, -w]), scale), 2), w


def at_reach(shares, eps, norm):
    """Return the two-sided model, and images of class 0 whose nearest error is at ``eps / share``."""
    model, w = two_sided()
    dual = w.norm(p=1) if norm == "Linf" else w.norm()
    scores = eps * dual * torch.tensor(shares)
    images = 0.5 + (scores[:, None] * w / w.dot(w)).view(-1, *SHAPE)
    return model, images, torch.zeros(len(shares), dtype=torch.long)


@cache
def small_net(classes=10, scale=1.0, seed=0):
    """Return a conv net trained for a moment on noise, and images that it classifies with margins of all sizes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(144, classes),
        )  # fmt: skip
        images = torch.rand(96, *SHAPE)
        labels = torch.randint(0, classes, (96,))
        optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
        for _ in range(60):
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
        # Between the training images, where the net is unsure.
        images = (images[:48] + images[48:]) / 2
    optimizer.zero_grad()
    network[-1].weight.data *= scale
    network[-1].bias.data *= scale
    model = frozen(network, classes)
    return model, images, model(images).argmax(1)


def right(model, images, labels):
    with torch.no_grad():
        return model(images).argmax(1) == labels


def counted(model, work):
    """Return what ``work`` returns, and how many images passed forward and backward."""
    meter = Meter()
    with meter.counting(model):
        found = work()
    return found, (meter.forwards, meter.backwards)


@pytest.fixture(scope="session")
def resnet(kit):
    """Return the real ResNet-20 with those of 24 CIFAR-10 test images that it gets right, and their labels."""
    from robench_builtins.models.resnet20 import ResNet20

    with np.load(kit / "cifar10-lossless-subset.npz", allow_pickle=False) as data:
        images = torch.from_numpy(data["x_test"][:24]).permute(0, 3, 1, 2).contiguous().float() / 255
        labels = torch.from_numpy(data["y_test"][:24]).long()
        names = tuple(str(name) for name in data["class_names"])
    victim = ResNet20(checkpoint=str(kit / "resnet20_cifar10.safetensors"))
    model = victim.load(Task(classes=names, shape=(3, 32, 32))).eval().requires_grad_(False)
    right = model(images).argmax(1) == labels
    return model, images[right], labels[right]


@pytest.fixture(scope="session")
def lab():
    """Return the functions above."""
    return SimpleNamespace(
        SHAPE=SHAPE, SIZE=SIZE, Linear=Linear, task=task, frozen=frozen, generator=generator, two_sided=two_sided,
        at_reach=at_reach, small_net=small_net, right=right, counted=counted,
    )  # fmt: skip
