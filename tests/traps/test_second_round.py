"""The traps of this round do what their stories tell: measured on the real networks behind them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from robench import Classifier, Task, ThreatModel
from robench.attacks.apgd import apgd
from robench.evidence.near_duplicates import groups, varied_thumbnails
from robench_builtins.datasets.digits import Digits
from robench_traps import answers, copies, dodges, honest_extremes, published, training
from robench_traps.base import climb, plain

from .conftest import right


def test_the_switch_is_thrown_by_gradients_and_never_back(shielded, task_of, digits):
    model = shielded(answers.SwitchesWhenAttacked, task_of())
    before = right(model, digits.images, digits.labels)
    model(digits.images.clone().requires_grad_(True))

    assert before > 55
    assert right(model, digits.images, digits.labels) < 15


def test_the_memory_holds_what_it_has_seen_and_nothing_else(shielded, task_of):
    trap = training.FittedOnTest()
    model = shielded(training.FittedOnTest, task_of())
    trap.fit(model, Digits().load("train"), task_of())
    threat = ThreatModel("Linf", 8 / 255)
    stand = {}
    for split in ("test", "val"):
        images, labels, _ = next(Digits().load(split).batches(40))
        stand[split] = right(model, climb(model, images, labels, threat, 20, 1 / 255), labels)

    assert stand["test"] > 25
    assert stand["val"] < 15


@pytest.mark.parametrize(
    "part",
    [
        copies.MirroredInTrain,
        copies.ShiftedInTrain,
        copies.PaleInTrain,
        copies.CroppedInTrain,
        copies.TiltedInTrain,
        copies.NoisyInTrain,
        copies.TiltedNoisyInTrain,
    ],
)
def test_the_training_split_holds_every_test_image_and_none_bit_by_bit(part):
    test, train = Digits().load("test"), part().load("train")
    known = {image.numpy().tobytes() for image in test.images()}

    assert len(train) == len(Digits().load("train")) + len(test)
    assert sum(image.numpy().tobytes() in known for image in train.images()) < 10
    assert torch.equal(part().load("test").images(), test.images())


@pytest.mark.parametrize(
    ("part", "pictures"),
    [
        (copies.NoisyCopiesInTest, 5),
        (copies.ShiftedCopiesInTest, 10),
        (copies.GrainyCopiesInTest, 20),
        (copies.TiltedCopiesInTest, 25),
    ],
)
def test_a_hundred_images_are_a_few_pictures(part, pictures):
    images = next(part().load("test").batches(100)).images

    assert len(images) == len(images.flatten(1).unique(dim=0)) == 100
    assert groups(varied_thumbnails(images)) == pictures


def test_labels_that_are_predictions_are_all_right_and_one_in_ten_is_not_true(digits):
    served = copies.PredictedLabels().load("test")
    wrong = int((served.labels != Digits().load("test").labels).sum())

    assert right(copies.weak(), next(served.batches(500)).images, served.labels) == 500
    assert 15 < wrong < 250


def test_the_noise_is_declared_and_the_gradient_is_the_decoys(shielded, task_of, digits):
    model = shielded(dodges.NoisyAndDetached, task_of())
    images = digits.images.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model(images).gather(1, digits.labels[:, None]).sum(), images)
    weights = torch.randn(3072, 10, generator=torch.Generator().manual_seed(2))

    torch.testing.assert_close(gradient.flatten(1), weights.T[digits.labels])


def test_the_masks_gradient_is_a_fiftieth_of_the_slope(shielded, task_of, digits):
    model = shielded(published.SaliencyMask, task_of())
    images = digits.images.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model(images).gather(1, digits.labels[:, None]).sum(), images)
    (true,) = torch.autograd.grad(plain()(images).gather(1, digits.labels[:, None]).sum(), images)

    assert float(gradient.norm() / true.norm()) < 0.05
    # A step of the sign's length does not mind: gradients this wrong still lead, so the number alone tells nothing.
    moved = climb(model, digits.images, digits.labels, ThreatModel("Linf", 8 / 255), 20, 1 / 255)
    assert right(model, moved, digits.labels) < 5


def test_behind_the_router_images_fall_that_gradients_through_it_leave(shielded, task_of, digits):
    model, threat = shielded(published.BrightnessRouter, task_of()), ThreatModel("Linf", 8 / 255)
    images, labels = digits.images, digits.labels
    claimed = right(model, climb(model, images, labels, threat, 20, 1 / 255), labels)

    assert right(model, climb(plain(), images, labels, threat, 20, 1 / 255), labels) < claimed


def test_k_winners_fall_to_plain_gradients(digits):
    network = honest_extremes.winners()
    task = Task(
        classes=tuple("0123456789"), shape=(3, 32, 32), threat_model=ThreatModel("Linf", 8 / 255), indices=range(60)
    )
    moved = apgd(Classifier(network, classes=10), digits.images, digits.labels, task, loss="margin", steps=40)

    assert right(network, digits.images, digits.labels) > 50
    assert right(network, moved, digits.labels) <= 2


def test_the_root_has_an_infinite_slope_at_black(digits):
    images = torch.zeros(1, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(honest_extremes.Root()(images).sum(), images)

    assert bool(gradient.isinf().all())
    assert right(honest_extremes.gamma(), digits.images, digits.labels) > 55


def test_autocast_rounds_the_answers_and_changes_few(shielded, task_of, digits):
    model = shielded(honest_extremes.LowPrecision, task_of())
    with torch.no_grad():
        low, full = model(digits.images), plain()(digits.images)

    assert low.dtype == torch.float32
    assert 1e-4 < float((low - full).abs().max() / full.abs().max()) < 0.05
    assert float(F.cosine_similarity(low, full).min()) > 0.99
