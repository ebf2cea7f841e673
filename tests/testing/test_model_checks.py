"""The kit against models: right ones pass, each wrong one gets its sentence."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import Classifier, Model, Preprocess, WeightsError
from robench.testing import fixtures
from robench.testing.model_checks import stray_tensors


class Right(Model):
    """Load a small network for any classes and images."""

    name = "right"
    reference = {"digits": 0.9, "a-data-set-of-my-own": 0.5}
    tuning = {"tecoa": {"epochs": 3}, "no-such-defense": {"anything": 1}}

    def load(self, task):
        return self.change(fixtures.network(fixtures.Setting(len(task.classes), task.shape)), task)

    def change(self, model, task):
        return model


class Clip(Right):
    """Load a small CLIP."""

    name = "clip"

    def load(self, task):
        return fixtures.zero_shot(fixtures.Setting(len(task.classes), task.shape))


@pytest.mark.parametrize("model", [Right, Clip])
def test_a_right_model_passes(judged, model):
    results = judged(model)
    assert {name: r.sentence for name, r in results.items() if r.status == "failed"} == {}
    skipped = {name for name, r in results.items() if r.status == "not applicable"}
    assert skipped == ({"texts"} if model is Right else set())


class Bare(Right):
    """Return the network."""

    def change(self, model, task):
        return model.network


class Soft(Right):
    """Return probabilities."""

    def change(self, model, task):
        return Classifier(nn.Sequential(model.network, nn.Softmax(1)), model.classes, model.preprocess)


class Nan(Right):
    """Return NaN."""

    def change(self, model, task):
        with torch.no_grad():
            model.network[-1].bias.fill_(float("nan"))
        return model


class Seven(Right):
    """Know seven classes, whatever is asked."""

    def load(self, task):
        return fixtures.network(fixtures.Setting(7, task.shape))


class Claiming(Seven):
    """Know seven classes, and claim those that were asked for."""

    def load(self, task):
        model = super().load(task)
        return Classifier(model.network, len(task.classes), model.preprocess)


class Hundred(Right):
    """Refuse all but the hundred classes of the data set it was trained on, as weights in a file do."""

    reference = {"cifar100": 0.7}

    def load(self, task):
        if len(task.classes) != 100:
            raise WeightsError(f"right tells 100 classes apart, but the dataset has {len(task.classes)}.")
        return super().load(task)


class Soft7(Seven):
    """Return probabilities of seven classes."""

    def change(self, model, task):
        return Classifier(nn.Sequential(model.network, nn.Softmax(1)), 7, model.preprocess)

    def load(self, task):
        return self.change(super().load(task), task)


class Colour(Right):
    """Know three channels, and say so too late."""

    def load(self, task):
        model = fixtures.network(fixtures.Setting(len(task.classes), (3, 32, 32)))
        return Classifier(model.network, model.classes)


class Drawn(Right):
    """Draw the head from the global generator."""

    def change(self, model, task):
        model.network[-1] = nn.Linear(32, model.classes)
        return model


class Detached(Right):
    """Preprocess outside the graph."""

    def change(self, model, task):
        class Cut(nn.Module):
            def forward(self, images):
                return images.detach()

        model.preprocess = nn.Sequential(Cut(), model.preprocess)
        return model


class Rounded(Right):
    """Round the pixels."""

    def change(self, model, task):
        class Round(nn.Module):
            def forward(self, images):
                return images.mul(255).round().div(255)

        model.preprocess = nn.Sequential(Round(), model.preprocess)
        return model


class Normed(Right):
    """Normalise by the batch at hand."""

    def change(self, model, task):
        class Batch(nn.Module):
            def forward(self, images):
                return images - images.mean(0, keepdim=True)

        model.preprocess = nn.Sequential(Batch(), model.preprocess)
        return model


class Writing(Right):
    """Normalise in place."""

    def change(self, model, task):
        class Inplace(nn.Module):
            def forward(self, images):
                return images.sub_(0.5) if not images.requires_grad else images - 0.5

        model.preprocess = nn.Sequential(Inplace(), model.preprocess)
        return model


class Stray(Right):
    """Keep the mean as an attribute."""

    def change(self, model, task):
        model.preprocess.shift = torch.zeros(1, task.shape[0], 1, 1)
        return model


class Boasting(Right):
    """State percent."""

    reference = {"digits": 92.6}


class Misspelt(Right):
    """State for a data set that is written otherwise."""

    reference = {"cifar-10": 0.926}


class Tolerant(Right):
    """Forgive everything."""

    reference_tolerance = 0.5


class Untuned(Right):
    """Tune a parameter that is not there."""

    tuning = {"tecoa": {"epoch": 3}}


class Missing(Right):
    """Have no weights here."""

    def load(self, task):
        raise WeightsError("the weights are not here; download them.")


class Raising(Right):
    """Raise."""

    def load(self, task):
        raise OSError("disk full")


WRONG = {
    Bare: ("logits", "right.load must return a robench.Classifier, not Sequential; wrap the network: Classifier("),
    Soft: ("logits", "right returns probabilities, not logits: each row is in [0, 1] and sums to 1."),
    Nan: ("logits", "right returns NaN or infinite logits on real images."),
    Colour: ("2 classes, 1 x 28 x 28", "refuse in load what the model cannot take, with robench.WeightsError"),
    Drawn: ("same weights", "right loads other weights the second time; draw initial values from task.generator(...)"),
    Detached: ("gradient", "right lets no gradient through to its pixels ("),
    Rounded: ("gradient", "right has a gradient of exactly 0 in 5 of 5 images; a detach, a rounding or a saturated"),
    Normed: ("any batch", "right gives an image other logits alone than in a batch (by up to "),
    Writing: ("logits", "right writes into the images it is given; work on a clone."),
    Stray: ("copies and devices", "right keeps the tensor 'preprocess.shift' as a plain attribute, which stays behind"),
    Boasting: ("statements", "right states 92.6 as its accuracy on digits; give it in (0, 1], such as 0.926."),
    Misspelt: ("statements", "on 'cifar-10', which is no installed data set; did you mean 'cifar10'?"),
    Tolerant: ("statements", "right.reference_tolerance is 0.5; give it in [0, 0.2], such as 0.01."),
    Untuned: (
        "statements",
        "right.tuning cannot be used for tecoa: tecoa has no parameter 'epoch'; did you mean 'epochs'?",
    ),
    Raising: ("logits", "loading right failed: OSError: disk full."),
}


@pytest.mark.parametrize("model", WRONG, ids=lambda model: model.__name__)
def test_a_wrong_model_fails_its_check(sentence, model):
    check, words = WRONG[model]
    assert words in sentence(model, check)


@pytest.mark.parametrize("model", [Drawn, Stray, Normed, Boasting, Misspelt, Tolerant, Untuned, Detached, Rounded])
def test_and_no_other_check(caught, model):
    assert list(caught(model)) == [WRONG[model][0]]


FIXED = {
    Seven: "right tells 7 classes apart, whatever the dataset has, so that no run on others begins; build the head for "
    "task.classes, or say so in load, with robench.WeightsError.",
    Claiming: "right tells 7 classes apart, whatever the dataset has, so that no run on others begins; ",
    Hundred: "right tells 100 classes apart, but the dataset has 2.",
}


@pytest.mark.parametrize("model", FIXED, ids=lambda model: model.__name__)
def test_a_model_with_fixed_classes_is_held_to_its_contract_on_those(judged, model):
    results = judged(model)
    others = {"texts", "2 classes, 1 x 28 x 28", "1,000 classes, 3 x 224 x 224"}
    assert {name for name, r in results.items() if r.status != "passed"} == others
    assert {results[name].status for name in others} == {"not applicable"}
    assert results["2 classes, 1 x 28 x 28"].sentence.startswith(FIXED[model])


def test_and_its_mistakes_are_still_found(caught):
    assert list(caught(Soft7)) == ["logits"]


def test_weights_that_are_not_here_are_no_failure(judged):
    results = judged(Missing)
    assert {r.status for r in results.values()} == {"passed", "not tried"}
    assert results["gradient"].sentence == "the weights are not here; download them."
    assert results["statements"].status == "passed"


def test_tensors_that_would_stay_behind_are_found_wherever_they_are():
    model = Classifier(nn.Linear(2, 2), 2, Preprocess([0.5], [0.5]))
    assert list(stray_tensors(model)) == []
    kept = torch.ones(2)
    model.table = {"a": [kept]}
    model.register_forward_hook(lambda module, _, logits: logits + kept)
    model.also = model.network.weight  # registered: it moves
    assert sorted(path.partition("[")[0] for path in stray_tensors(model)) == ["_forward_hooks", "table"]
    assert "table['a'][0]" in list(stray_tensors(model))
