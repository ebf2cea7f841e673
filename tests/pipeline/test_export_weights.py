"""Trained weights handed over: the file holds them, and what is said of loading it was tried."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from robench import Classifier, Model, WeightsError, parameter
from robench.api import spec_from
from robench.pipeline.export_weights import hand_over, loading, save_weights
from robench.pipeline.workbench import Options, Workbench
from robench.plan.spec import plan

from ..grey import MeanNetwork


class Tied(MeanNetwork):
    """Have one tensor under two names."""

    def __init__(self):
        super().__init__()
        self.twin = self.unused


class Learner(Model):
    """Learn a gain, or take it from a file."""

    name = "learner"
    checkpoint: str = parameter("", "a file of tensors")
    start: float = parameter(2.0, "gain before training")
    drawn: bool = parameter(True, "without weights unless there is a file")
    always: bool = parameter(False, "train in any case")

    def load(self, task):
        network = Tied()
        with torch.no_grad():
            network.gain.fill_(self.start)
        if self.checkpoint:
            network.load_state_dict(load_file(self.checkpoint))
        return Classifier(network, classes=2)

    def untrained(self):
        return self.always or (self.drawn and not self.checkpoint)

    def fit(self, model, train, task):
        for images, labels, _ in train.batches(len(train)):
            nn.functional.cross_entropy(model(images), labels).backward()
        with torch.no_grad():
            model.network.gain.fill_(7.0)


class Deaf(Learner):
    """Take a file and do not read it."""

    name = "deaf"

    def load(self, task):
        return Classifier(Tied(), classes=2)


class Closed(Model):
    """Take no file."""

    name = "closed"

    def load(self, task):
        return Classifier(Tied(), classes=2)

    def untrained(self):
        return True

    def fit(self, model, train, task):
        Learner.fit(self, model, train, task)


@pytest.fixture
def given(catalog_of, tmp_path):
    """Return a function that trains a victim and hands its weights over: (file, parameters, reason)."""
    known = catalog_of(*(("victim", kind) for kind in (Learner, Deaf, Closed)))

    def go(name, **parameters):
        spec = spec_from(victim=name, attack="steps", parameters={f"victim.{k}": v for k, v in parameters.items()})
        cell = plan(spec, known=known)[0]
        workbench = Workbench(Options(store=tmp_path / "store", device="cpu"), "cpu")
        return hand_over(cell, cell.victim, workbench, tmp_path / "mine")

    return go


def test_the_file_holds_the_trained_tensors_under_the_networks_names(given, tmp_path):
    path, parameters, reason = given("learner", start=3.0)

    assert path == tmp_path / "mine" / "model.safetensors"
    assert {name: tensor.tolist() for name, tensor in load_file(path).items()} == {
        "gain": 7.0, "unused": [0, 0, 0], "twin": [0, 0, 0],
    }  # fmt: skip
    assert (parameters, reason) == ({"start": 3.0, "checkpoint": str(path)}, "")


def test_a_checkpoint_that_is_not_read_is_found_out(given):
    path, parameters, reason = given("deaf")

    assert path.is_file()
    assert (parameters, reason) == ({}, "deaf makes other weights of them.")


def test_a_model_that_takes_no_file(given):
    path, parameters, reason = given("closed")

    assert path.is_file()
    assert (parameters, reason) == ({}, "closed has no parameter 'checkpoint' to take them with.")


def test_parameters_that_ask_for_training_are_left_out(catalog_of, tmp_path):
    spec = spec_from(victim="learner[always=true,start=4]", attack="steps")
    chosen = plan(spec, known=catalog_of(("victim", Learner)))[0].victim

    assert loading(chosen, tmp_path / "x") == {"start": 4.0, "checkpoint": str(tmp_path / "x")}


def test_a_model_that_is_trained_in_any_case(catalog_of, tmp_path):
    class Restless(Learner):
        """Fine-tune whatever it is given."""

        name = "restless"

        def untrained(self):
            return True

    chosen = plan(spec_from(victim="restless", attack="steps"), known=catalog_of(("victim", Restless)))[0].victim
    with pytest.raises(WeightsError, match="restless is trained even when 'checkpoint' is given"):
        loading(chosen, tmp_path / "x")


def test_the_same_weights_are_the_same_file(tmp_path):
    first = save_weights(Tied(), tmp_path)
    before = first.stat().st_mtime_ns
    assert save_weights(Tied(), tmp_path) == first
    assert first.stat().st_mtime_ns == before
