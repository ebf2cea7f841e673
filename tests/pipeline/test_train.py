"""Victims and surrogates that come without weights are trained once, kept, and told about in the card."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from robench import Classifier, Model, WeightsError, parameter
from robench.evidence.card_file import decode, encode

from ..grey import CLEAN, SURVIVORS, MeanNetwork, Scale, checks, row


class Raw(MeanNetwork):
    """Answer with a gain of the wrong sign, and a random one at that, until it is trained."""

    def __init__(self):
        super().__init__()
        self.start = float(torch.rand(()))
        nn.init.constant_(self.gain, -1 - self.start)


class Learner(Model):
    """Learn which sign is bright."""

    name = "learner"
    reference = {"greys": 0.1}
    pretrained: bool = parameter(False, "come with weights")
    epochs: int = parameter(3, "passes over the training images", minimum=1)
    loaded = []
    fits = []

    def load(self, task):
        network = MeanNetwork() if self.pretrained else Raw()
        self.loaded.append(network)
        return Classifier(network, classes=2)

    def untrained(self):
        return not self.pretrained

    def training_passes(self, images):
        return self.epochs * images, self.epochs * images

    def fit(self, model, train, task):
        assert all(parameter.requires_grad for parameter in model.parameters())
        self.fits.append((task.seed, float(model.network.gain.detach())))
        for epoch in range(self.epochs):
            for images, labels, _ in train.batches(len(train)):
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
            task.log(epoch=epoch, loss=loss.item())
        with torch.no_grad():
            model.network.gain.fill_(10.0)


LEARNER = ("victim", Learner)


@pytest.fixture(autouse=True)
def fresh():
    Learner.fits.clear()
    Learner.loaded.clear()


def test_an_untrained_victim_is_trained_before_it_is_attacked(grey):
    (card,) = grey.run(LEARNER, victim="learner", attack="steps", eps="4/255")

    assert len(Learner.fits) == 1
    assert Learner.fits[0][1] < 0
    assert card.clean.correct == CLEAN
    assert card.robust.correct == SURVIVORS[4]
    assert card.gate.verdict == "VALID"


def test_the_card_tells_how_it_was_trained(grey):
    (card,) = grey.run(LEARNER, victim="learner", attack="steps", eps="4/255")
    training, cost = card.model.training, card.model.training_cost

    assert [entry["epoch"] for entry in training.history] == [0, 1, 2]
    assert training.recipe == {"model": "learner", "pretrained": False, "epochs": 3}
    assert (training.trainable, sorted(training.names)) == (4, ["network.gain", "network.unused"])
    assert (cost.forwards, cost.backwards) == (3 * 40, 3 * 40)
    assert (card.data.train_n, card.training.names) == (40, [])
    # What another model's author states is not stated of this one.
    assert card.model.reference is None
    assert checks(card)["reference clean accuracy"].status == "skipped"
    assert decode(encode(card), "here") == card
    assert json.loads(encode(card))["model"]["training"]["recipe"]["epochs"] == 3


def test_it_is_trained_once_for_all_cells_and_runs(grey):
    first = grey.run(LEARNER, victim="learner", attack=["step", "steps"], eps=["4/255", "8/255"])
    again = grey.run(LEARNER, victim="learner", attack=["step", "steps"], eps=["4/255", "8/255"])
    grey.run(LEARNER, victim="learner", attack="steps", eps="2/255")

    assert len(Learner.fits) == 1
    assert first == again


def test_its_seed_is_the_runs_and_the_start_too(grey):
    cards = grey.run(LEARNER, victim="learner", attack="steps", eps="4/255", seed=[0, 1])
    (_, first), (_, second) = Learner.fits

    assert first != second
    assert len({card.id for card in cards}) == 2
    torch.manual_seed(1234)
    Learner.fits.clear()
    grey.run(LEARNER, victim="learner", attack="steps", eps="4/255", seed=1, store=grey.store / "other")
    assert Learner.fits[0][1] == second


def test_another_recipe_is_another_victim(grey):
    grey.run(LEARNER, victim="learner", attack="steps", eps="4/255")
    grey.run(LEARNER, victim="learner[epochs=1]", attack="steps", eps="4/255")

    assert len(Learner.fits) == 2


def test_a_defense_starts_from_the_trained_victim(grey):
    Scale.fits.clear()
    cards = grey.run(LEARNER, victim="learner", defense=["none", "scale"], attack="steps", eps="4/255")

    assert row(cards, "scale").clean.correct == CLEAN
    assert row(cards, "scale").training.names == ["network.gain"]
    assert row(cards, "scale").model.victim == row(cards, "none").model.defended
    assert len(Learner.fits) == 1


def test_as_a_surrogate_it_is_trained_too(grey):
    cards = grey.run(LEARNER, ("surrogate", Learner), surrogate="learner", attack="steps", eps="4/255")
    (card,) = [card for card in cards if card.cell.surrogate is not None]

    assert len(Learner.fits) == 1
    assert card.adversarial.surrogate_clean == pytest.approx(CLEAN / 44, abs=1e-6)
    assert card.robust.correct == SURVIVORS[4]


def test_with_weights_nothing_is_trained(grey):
    (card,) = grey.run(LEARNER, victim="learner[pretrained=true]", attack="steps", eps="4/255")

    assert (Learner.fits, card.model.training, card.model.training_cost) == ([], None, None)


def test_test_images_in_the_victims_training_are_found(grey):
    class Cheating(grey.Greys):
        """Serve the test images for training."""

        name = "cheating"
        default = False

        def load(self, split):
            return super().load("test")

    (card,) = grey.run(
        LEARNER, ("dataset", Cheating), dataset="cheating", victim="learner", attack="steps", eps="4/255"
    )
    assert checks(card)["split leakage"].status == "invalid"


def test_a_model_that_cannot_be_trained_says_so():
    class Bare(Model):
        """Come without weights or a recipe."""

        name = "bare"

    with pytest.raises(WeightsError, match="bare does not say how it is trained; give it weights"):
        Bare().fit(None, None, None)
