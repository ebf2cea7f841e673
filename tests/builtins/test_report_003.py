"""What report 003 trains by: two losses, gradient descent on all images, a tolerance, FGSM from the image."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

import robench
from robench.contracts.parameters import parameters_of
from robench.evidence.fingerprint import of_component
from robench.plan.spec import Spec, plan
from robench.testing import fixtures

FULL = {"batch_size": 2000, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.01, "validation": 0.0}


def component(role, name):
    cells = plan(Spec(dataset="digits[native=true]", **{"victim": ("linear",), role: (name,)}))
    return getattr(cells[-1], role).component


@pytest.fixture(scope="module")
def digits():
    (cell,) = plan(Spec(dataset="digits[native=true]", victim=("linear",)))
    return cell.dataset.component


@pytest.fixture(scope="module")
def train(digits):
    return digits.load("train")


def fitted(digits, train, **given):
    inside = ",".join(f"{key}={value}" for key, value in {**FULL, **given}.items())
    model = component("victim", f"linear[{inside}]")
    task = robench.Task(classes=digits.classes(), shape=(1, 8, 8))
    network = model.load(task)
    drawn = {name: value.detach().clone() for name, value in network.named_parameters()}
    model.fit(network, train, task)
    return network, drawn, task.history


def test_native_digits_are_the_scans(digits, train):
    from sklearn.datasets import load_digits

    assert train.shape == (1, 8, 8)
    (batch,) = train.batches(len(train), "cpu")
    scans = {tuple(row) for row in load_digits().data.astype(int).tolist()}
    assert {tuple(row) for row in (batch.images.flatten(1) * 16).round().int().tolist()} <= scans
    large = plan(Spec(dataset="digits", victim=("linear",)))[0].dataset.component.load("train")
    assert torch.equal(large.labels, train.labels)


@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
def test_one_epoch_of_all_images_is_one_step_of_gradient_descent(digits, train, loss):
    network, drawn, history = fitted(digits, train, loss=loss, epochs=1)
    (batch,) = train.batches(len(train), "cpu")
    names = list(drawn)
    weight, bias = (drawn[name].requires_grad_() for name in names)
    logits = batch.images.flatten(1) @ weight.T + bias
    target = F.one_hot(batch.labels, 10).float()
    value = F.mse_loss(logits, target) if loss == "mse" else F.cross_entropy(logits, batch.labels)
    value.backward()
    after = dict(network.named_parameters())
    torch.testing.assert_close(after[names[0]].detach(), (weight - 0.01 * weight.grad).detach(), rtol=1e-4, atol=1e-6)
    assert history[0]["loss"] == pytest.approx(value.item(), rel=1e-5)


def test_it_stops_where_the_loss_stands_still_and_logs_that_epoch(digits, train):
    _, _, history = fitted(digits, train, loss="mse", epochs=60, tolerance=1e-2)
    assert 1 < len(history) < 60
    steps = [abs(one["loss"] - other["loss"]) for one, other in itertools.pairwise(history)]
    assert steps[-1] < 1e-2
    assert all(step >= 1e-2 for step in steps[:-1])
    assert len(fitted(digits, train, loss="mse", epochs=4)[2]) == 4


def test_thousands_of_epochs_are_not_each_logged(digits):
    small = digits.load("train")[:20]
    _, _, history = fitted(digits, small, epochs=1002)
    assert [entry["epoch"] for entry in history[:2]] == [2, 4]
    assert history[-1]["epoch"] == 1002
    assert len(history) == 501


def test_what_was_declared_later_enters_no_fingerprint_at_its_default():
    for role, name, changed in (
        ("victim", "linear", "linear[loss=mse]"),
        ("victim", "mlp", "mlp[tolerance=1e-6]"),
        ("defense", "fgsm-at", "fgsm-at[random_start=false]"),
    ):
        plain, other = component(role, name), component(role, changed)
        later = {key for key, entry in parameters_of(type(plain)).items() if entry.later}
        assert later
        assert not later & of_component(plain)["parameters"].keys()
        assert later & of_component(other)["parameters"].keys()


def test_fgsm_training_from_the_image_takes_a_step_of_eps():
    plain, fgsm = component("defense", "fgsm-at"), component("defense", "fgsm-at[random_start=false,eps=0.05]")
    assert plain.step() == pytest.approx(1.25 * plain.eps)
    assert fgsm.step() == 0.05
    assert fgsm.recipe()["random_start"] is False
    assert "random_start" not in plain.recipe()
    network = fixtures.network(fixtures.USUAL)
    images = fixtures.pictures(fixtures.USUAL, 4)
    labels = torch.zeros(4, dtype=torch.long)
    task = robench.Task(classes=tuple("abcdefghij"), shape=tuple(images.shape[1:]))
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    batch = robench.Batch(images, labels, range(4))
    crafted = fgsm.objective(network, task).craft(batch, task.replace(indices=range(4)))
    loss = lambda given: F.cross_entropy(network(given), labels, reduction="none")  # noqa: E731
    step = 0.05 * robench.input_gradient(loss, images)[1].sign()
    torch.testing.assert_close(crafted, (images + step).clamp(0, 1), rtol=0, atol=1e-6)
