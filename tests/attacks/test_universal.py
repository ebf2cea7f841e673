"""One change for all images: its optimum on linear models by hand and by looking at every square, and what is one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import Classifier, ThreatModel
from robench.attacks.universal import changed_otherwise, common_change, universal
from robench.runtime.inference import freeze

SHAPE = (3, 6, 6)


@pytest.fixture(scope="module")
def ground():
    """Return a linear classifier of two classes, images that are all of the first, and the way out of it."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(108, 2, bias=False)
    layer.weight.data = torch.stack([torch.zeros(108), 0.3 * torch.randn(108, generator=generator)])
    images = torch.rand(7, *SHAPE, generator=generator)
    return freeze(Classifier(nn.Sequential(nn.Flatten(), layer), 2), "cpu"), images, layer.weight.data[1].view(SHAPE)


def lead(way, images):
    return (images * way).flatten(1).sum(1).mean()


def test_on_one_class_of_a_linear_model_it_is_the_corner_of_the_ball(ground):
    model, images, way = ground
    threat = ThreatModel("Linf", 0.1)
    change = universal(model, images, torch.zeros(7, dtype=torch.long), threat, steps=3)

    assert torch.equal(change.values[0], 0.1 * way.sign())


def test_the_square_is_the_one_of_which_all_images_gain_most(ground):
    model, images, way = ground
    threat = ThreatModel("patch", 2.0)
    change = universal(model, images, torch.zeros(7, dtype=torch.long), threat, steps=2)
    colours, found = (way > 0).float(), {}
    for top in range(5):
        for left in range(5):
            painted = images.clone()
            painted[:, :, top : top + 2, left : left + 2] = colours[:, top : top + 2, left : left + 2]
            found[top, left] = lead(way, painted)

    assert lead(way, change.on(images, threat)) == pytest.approx(float(max(found.values())), abs=1e-5)
    assert (threat.distance(images, change.on(images, threat)) <= 2).all()


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.2), ("L2", 0.7), ("patch", 2.0)])
def test_what_all_images_share_is_found_again_and_another_change_is_told(ground, norm, eps):
    threat = ThreatModel(norm, eps)
    model, images, _ = ground
    change = universal(model, images, torch.zeros(7, dtype=torch.long), threat, steps=2)
    moved = change.on(images, threat)
    found = common_change(images, moved, threat)

    assert not changed_otherwise(images, moved, found, threat).any()
    assert not changed_otherwise(images, ((moved * 255).round() / 255), found, threat).any()
    other = moved.clone()
    other[2] = threat.project(images, images + 0.2 * images.roll(1, 0))[2]
    assert changed_otherwise(images, other, common_change(images, other, threat), threat).nonzero().tolist() == [[2]]


def test_a_blind_model_is_left_where_it_is():
    layer = nn.Linear(108, 2)
    layer.weight.data.zero_()
    model = freeze(Classifier(nn.Sequential(nn.Flatten(), layer), 2), "cpu")
    change = universal(
        model, torch.rand(2, *SHAPE), torch.zeros(2, dtype=torch.long), ThreatModel("Linf", 0.1), steps=2
    )

    assert not change.values.any()
