"""The climb pixel by pixel: on a linear map the exact optimum, and never more pixels than may change."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import Classifier, Task, ThreatModel
from robench.attacks.pixels import pixels
from robench.runtime.inference import freeze


@pytest.fixture(scope="module")
def ground():
    generator = torch.Generator().manual_seed(3)
    layer = nn.Linear(48, 2, bias=False)
    layer.weight.data = torch.stack([torch.randn(48, generator=generator), torch.zeros(48)])
    images = torch.rand(5, 3, 4, 4, generator=generator)
    model = freeze(Classifier(nn.Sequential(nn.Flatten(), layer), 2), "cpu")
    return model, images, model(images).argmax(1), layer.weight.data[0].view(3, 4, 4)


def task(count):
    return Task(classes=("a", "b"), shape=(3, 4, 4), indices=range(5), threat_model=ThreatModel("L0", float(count)))


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_on_a_linear_map_it_ends_where_the_largest_gains_do(ground, steps):
    model, images, labels, weight = ground
    found = pixels(model, images, labels, task(4), loss="margin", steps=steps)
    way = (labels * 2 - 1).view(-1, 1, 1, 1) * weight  # class 0 falls by less of it
    gains = (way * ((way > 0).float() - images)).sum(1).flatten(1)
    wanted = gains.topk(4, 1).values.sum(1)

    assert (task(4).threat.distance(images, found) <= 4).all()
    torch.testing.assert_close(((found - images) * way).flatten(1).sum(1), wanted)


def test_what_has_fallen_is_left_alone_and_no_pixel_is_none(ground):
    model, images, labels, _ = ground
    early = task(8).replace(stop_early=True)
    found = pixels(model, images, labels, early, loss="ce-scaled", steps=8)
    spent, fell = early.threat.distance(images, found), model(found).argmax(1) != labels

    assert fell.all()
    assert spent.min() < 8
    assert torch.equal(pixels(model, images, labels, task(0), loss="margin", steps=8), images)
