"""Each model that is trained on the spot has one card, whatever it is for and wherever its fit came from."""

from __future__ import annotations

import shutil

import msgspec
import pytest
import torch
from torch import nn

from robench import Attack, Classifier, Model, SpecError, parameter
from robench.api import CellsFailed
from robench.evidence.store import Store
from robench.evidence.tensor_digests import weights_digest
from robench.evidence.training_card import Reached
from robench.evidence.training_card_file import decode, encode
from robench.pipeline.training_cards import stored_card, untrained

from ..grey import MeanNetwork

#: What the learner logs: it may run six epochs, stops after four, and the second is the best.
VALIDATION = (0.5, 0.125, 0.25, 0.375)
GAINS = (5.0, 10.0, 20.0, 40.0)


class Learner(Model):
    """Log known curves, and keep the weights of the best epoch as early stopping does."""

    name = "learner"
    pretrained: bool = parameter(False, "come with weights")
    epochs: int = parameter(6, "passes over the training images at most", minimum=1)
    patience: int = parameter(2, "epochs without a lower validation loss", minimum=0)
    fits = []

    def load(self, task):
        network = MeanNetwork()
        if not self.pretrained:
            nn.init.constant_(network.gain, -1.0)
        return Classifier(network, classes=2)

    def untrained(self):
        return not self.pretrained

    def fit(self, model, train, task):
        self.fits.append(task.seed)
        for epoch, (loss, gain) in enumerate(zip(VALIDATION, GAINS, strict=True), 1):
            for images, labels, _ in train.batches(len(train)):
                nn.functional.cross_entropy(model(images), labels).backward()
            with torch.no_grad():
                model.network.gain.fill_(gain)
            task.log(epoch=epoch, loss=1 / gain, accuracy=epoch / 8, validation_loss=loss, validation_accuracy=1 - loss)
        with torch.no_grad():
            model.network.gain.fill_(GAINS[1])


class Quiet(Learner):
    """Log nothing that is understood."""

    name = "quiet"

    def fit(self, model, train, task):
        super().fit(model, train, task.replace(history=[]))
        task.log(step=1, reward=2.5)


class Diverging(Learner):
    """Never be trained."""

    name = "diverging"

    def fit(self, model, train, task):
        self.fits.append(task.seed)
        raise SpecError("diverging diverged.")


class Broken(Attack):
    """Raise."""

    name = "broken"

    def craft(self, model, images, labels, task):
        raise ValueError("broken as always")


class Pair(Model):
    """Answer as the mean of two learners."""

    name = "pair"

    def members(self):
        return ("learner", "quiet")

    def load(self, task):
        both = [task.load_model(name).network for name in self.members()]

        class Both(nn.Module):
            def __init__(self):
                super().__init__()
                self.parts = nn.ModuleList(both)

            def forward(self, images):
                return sum(part(images) for part in self.parts) / 2

        return Classifier(Both(), classes=2)


LEARNER, QUIET = ("victim", Learner), ("victim", Quiet)


@pytest.fixture(autouse=True)
def fresh():
    Learner.fits.clear()


@pytest.fixture
def school(grey):
    """Return a function that runs a request and gives the cards of its cells and of its trainings."""

    def go(*more, **request):
        found = []
        request = {"victim": "learner", "attack": "steps", "eps": "4/255", "on_training": found.append, **request}
        return grey.run(*(more or (LEARNER,)), **request), found

    return go


def test_every_number_of_the_card_is_the_fits(school):
    _, (card,) = school()

    assert card.reached == Reached(
        epochs=4,
        allowed=6,
        stopped_early=True,
        kept=2,
        validation_loss=0.125,
        validation_accuracy=0.875,
        loss=1 / 40,
        accuracy=0.5,
    )
    assert [point["validation_loss"] for point in card.training.history] == list(VALIDATION)
    assert (card.training.trainable, sorted(card.training.names)) == (4, ["network.gain", "network.unused"])
    assert card.training.recipe == {"model": "learner", "pretrained": False, "epochs": 6, "patience": 2}
    assert (card.cost.images, card.cost.forwards, card.cost.backwards) == (40, 160, 160)
    assert (card.data.shape, card.data.classes, card.data.train_n) == ((1, 4, 4), ["bright", "dark"], 40)
    assert (card.dataset.name, card.victim.label, card.seed) == ("greys", "learner", 0)


def test_it_says_what_the_cells_card_says(school):
    (cell,), (card,) = school(seed=3)

    assert (card.victim, card.dataset, card.seed) == (cell.cell.victim, cell.cell.dataset, 3)
    assert (card.training, card.cost) == (cell.model.training, cell.model.training_cost)
    assert (card.weights, card.data.train) == (cell.model.victim, cell.data.train)
    network = MeanNetwork()
    nn.init.constant_(network.gain, GAINS[1])
    assert card.weights == weights_digest(Classifier(network, classes=2))
    assert decode(encode(card), "here") == card


def test_one_card_a_model_for_all_cells(school):
    cards, trainings = school(attack=["step", "steps"], eps=["2/255", "4/255"], defense=["none", "scale"], seed=[0, 1])

    assert len(cards) == 16
    assert [card.seed for card in trainings] == [0, 1]
    assert len({card.id for card in trainings}) == len(Learner.fits) == 2


def test_from_the_store_it_is_the_same_card(school):
    _, (first,) = school()
    _, (answered,) = school()
    _, (measured,) = school(eps="8/255")

    assert first == answered == measured
    assert len(Learner.fits) == 1


def test_a_fit_that_an_older_version_stored_has_a_card_too(school, grey):
    _, (first,) = school()
    shutil.rmtree(grey.store / "training")
    _, (again,) = school()

    assert len(Learner.fits) == 1
    assert msgspec.structs.replace(again, created=first.created) == first
    assert stored_card(Store(grey.store), first.id) == again


def test_nothing_is_trained_for_the_sake_of_a_card(school, grey):
    school()
    shutil.rmtree(grey.store / "training")
    shutil.rmtree(grey.store / "fit")
    cards, trainings = school()

    assert (len(cards), trainings, len(Learner.fits)) == (1, [], 1)


def test_a_card_that_cannot_be_made_is_noted_and_the_cells_stand(school, grey, monkeypatch):
    class Notes:
        said = []

        def track(self, items, total, text):
            return items

        def note(self, text):
            self.said.append(text)

    school()
    shutil.rmtree(grey.store / "training")
    monkeypatch.setattr(Learner, "load", lambda self, task: None)
    cards, trainings = school(progress=Notes())

    assert (len(cards), trainings) == (1, [])
    assert Notes.said == [
        "The training of learner has no card: learner.load must return a robench.Classifier, not NoneType; wrap the "
        "network: Classifier(network, classes=len(task.classes))."
    ]


def test_a_surrogate_has_a_card(school):
    cards, (training,) = school(LEARNER, ("surrogate", Learner), victim="mean", surrogate="learner")

    assert training.victim.name == "learner"
    assert any(card.cell.surrogate == training.victim for card in cards)


def test_the_same_model_as_victim_and_surrogate_has_one(school):
    _, trainings = school(LEARNER, ("surrogate", Learner), surrogate="learner")

    assert len(trainings) == len(Learner.fits) == 1


def test_members_of_a_model_have_cards_and_it_has_none(school):
    more = LEARNER, QUIET, ("victim", Pair)
    _, trainings = school(*more, victim="pair")

    assert [card.victim.name for card in trainings] == ["learner", "quiet"]
    assert [card.members for card in trainings] == [[], []]


def test_curves_that_are_not_understood_leave_what_came_of_it_out(school):
    _, (card,) = school(QUIET, victim="quiet")

    assert card.reached == Reached(allowed=6)
    assert card.training.history == [{"step": 1.0, "reward": 2.5}]


def test_a_model_with_weights_has_none(school):
    assert school(victim="learner[pretrained=true]")[1] == []


def test_a_training_whose_attack_fails_has_a_card(school):
    found = []
    with pytest.raises(CellsFailed):
        school(LEARNER, ("attack", Broken), attack=["steps", "broken"], on_training=found.append)

    assert [card.victim.name for card in found] == ["learner"]


def test_a_training_that_fails_has_none(school):
    found = []
    with pytest.raises(SpecError, match="diverging diverged"):
        school(("victim", Diverging), victim="diverging", on_training=found.append)

    assert found == []


def test_what_is_trained_is_known_beforehand(grey, catalog_of):
    from robench.api import spec_from
    from robench.plan.spec import plan

    spec = spec_from(victim=["learner", "learner[pretrained=true]", "pair", "mean"], attack="steps", seed=[0, 1])
    found = untrained(plan(spec, known=catalog_of(LEARNER, QUIET, ("victim", Pair))))

    assert sorted((chosen.component.name, cell.seed) for cell, chosen in found.values()) == [
        ("learner", 0), ("learner", 1), ("quiet", 0), ("quiet", 1),
    ]  # fmt: skip
    assert all(cell.model_id(chosen) == model_id for model_id, (cell, chosen) in found.items())
    assert Learner.fits == []
