"""A model whose worst image is known by hand: two classes told apart by a linear map."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from robench import Classifier, Task, ThreatModel

from . import trained_networks

EPS = 8 / 255


class Linear(nn.Module):
    """Return w.x and -w.x, so the steepest way out of class 0 is -sign(w), and of class 1 sign(w)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3 * 8 * 8, generator=torch.Generator().manual_seed(0)))
        self.asked = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.asked += 1
        lead = (images.flatten(1) - 0.5) @ self.weight
        return torch.stack([lead, -lead], 1)


@pytest.fixture
def ground():
    """Return ten images in the middle of the box, the linear model, its answers as labels, and the exact optimum."""
    generator = torch.Generator().manual_seed(1)
    images = 0.3 + 0.4 * torch.rand(10, 3, 8, 8, generator=generator)
    network = Linear()
    model = Classifier(network, classes=2).eval().requires_grad_(False)
    labels = model(images).argmax(1)
    out = network.weight.detach().sign().view(1, 3, 8, 8) * (2 * labels - 1).view(-1, 1, 1, 1)
    task = Task(
        classes=("a", "b"), shape=(3, 8, 8), threat_model=ThreatModel("Linf", EPS), indices=range(10), stop_early=True
    )
    network.asked = 0
    return SimpleNamespace(
        images=images, labels=labels, model=model, network=network, task=task, eps=EPS, best=images + EPS * out,
        out=out, threat=task.threat,
    )  # fmt: skip


@pytest.fixture
def digits():
    """Return 60 test digits as float images, and their labels."""
    from robench_builtins.datasets.digits import Digits

    batch = next(Digits().load("test").batches(60))
    return SimpleNamespace(images=batch.images, labels=batch.labels)


@pytest.fixture(scope="session")
def task_of():
    """Return the task of the digits at a radius."""

    def build(eps=EPS, **more):
        return Task(
            classes=tuple("0123456789"),
            shape=(3, 32, 32),
            threat_model=ThreatModel("Linf", eps),
            stop_early=True,
            **more,
        )

    return build


@pytest.fixture(scope="session", autouse=True)
def networks(once):
    """Return the folder of the two networks that most traps stand on; this process has read them."""
    folder = once("networks of the traps", trained_networks.write)
    trained_networks.read(folder)
    return folder


@pytest.fixture(scope="session")
def shielded():
    """Return a function that puts a shield around the plain network."""
    import copy

    from robench_traps.base import plain

    def build(shield, task):
        return shield().wrap(Classifier(copy.deepcopy(plain()), classes=10), task).eval().requires_grad_(False)

    return build


def right(model, images, labels):
    """Return how many images a model answers by their label."""
    with torch.no_grad():
        return int((model(images).argmax(1) == labels).sum())
