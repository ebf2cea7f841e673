"""The binarization test, where the planted adversarial example is known to exist and to be reachable."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import Classifier
from robench.gate.binarization import features_of

from ..grey import accused, attack, checks, victim

#: Small dear probes, so that only the binarization test takes time.
THOROUGH = {"eps": "8/255", "gate": "thorough", "gate_images": 1, "gate_cost": 10000}


class Linear(nn.Module):
    """Be the grey classifier as one linear layer on 16 pixels."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 2)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[10 / 16], [-10 / 16]]).expand(2, 16))
            self.layer.bias.copy_(torch.tensor([-5.0, 5.0]))

    def forward(self, images):
        return self.layer(images.flatten(1))


LINEAR = victim("linear", Linear)


def test_an_attack_that_follows_the_gradient_finds_every_planted_example(grey):
    # A linear readout's maximum over the ball is a corner, which steps along the gradient's sign reach exactly.
    (card,) = grey.run(LINEAR, victim="linear", **THOROUGH)
    check = checks(card)["binarization"]

    assert not accused(card)
    assert (check.status, check.value, check.n) == ("pass", 0, 32)
    assert check.meaning.startswith("It finds the planted adversarial examples; random search finds")


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_an_attack_that_cannot_reach_the_edge_finds_none(grey, share):
    # The points inside reach to 0.95 of the ball, and all of them are on the other side of the readout.
    def craft(model, images, labels, task):
        return images + share * task.threat.eps * task.uniform(images, "step").sign()

    (card,) = grey.run(LINEAR, attack("short", craft), victim="linear", attack="short", **THOROUGH)
    check = checks(card)["binarization"]

    assert (check.status, check.n) == ("suspect", 32)
    assert check.value >= 0.8
    assert "adversarial examples that were planted in the ball (binarization test): it is too weak" in check.meaning


def test_it_is_skipped_where_there_is_no_linear_layer_or_no_effort(grey):
    (without,) = grey.run(**THOROUGH)
    (standard,) = grey.run(LINEAR, victim="linear", eps="8/255")

    for card in (without, standard):
        assert (checks(card)["binarization"].status, checks(card)["binarization"].n) == ("skipped", 0)
        assert checks(card)["binarization"].meaning.startswith("Part of --gate thorough; needs a white-box gradient")


def test_features_are_the_input_of_the_last_linear_layer_that_runs():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    model, images = Classifier(network, classes=2), torch.rand(5, 1, 2, 2)
    found = features_of(model, images)

    assert found is not None
    assert torch.equal(found(images), network[:3](images))


def test_a_last_layer_that_is_no_classifier_has_no_features():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Softplus())
    model = Classifier(nn.Sequential(network, nn.AdaptiveAvgPool1d(2)), classes=2)

    assert features_of(model, torch.rand(5, 1, 2, 2)) is None
