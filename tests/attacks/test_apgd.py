"""Auto-PGD against a literal transcription of the paper's algorithm, and its exact costs."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robench import SpecError, apgd, input_gradient
from robench.attacks.apgd import checkpoints
from robench.attacks.directions import random_direction


def paper(model, image, label, job, steps, rho=0.75):
    """Return the iterates x_0 ... x_N of algorithm 1 of Croce and Hein 2020, and their losses, for one image."""

    def loss(x):
        return F.cross_entropy(model(x), label, reduction="none")

    def gradient(x):
        return input_gradient(loss, x)[1]

    def project(x):
        return job.threat.project(image, x)

    eps = job.threat.eps
    windows, p = [0.0, 0.22], [0.0, 0.22]
    while windows[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
        windows.append(p[-1])
    marks = {round(share * steps) for share in p[1:]}

    start = project(image + eps * random_direction(image, job, "apgd", 0, 0))
    iterates, values = [start], [loss(start).item()]
    alpha, best, reduced, best_at_mark, last_mark = 2 * eps, 0, True, values[0], 0
    here, before, slope = start, start, gradient(start)
    slopes = [slope]
    for step in range(1, steps + 1):
        stepped = project(here + alpha * job.threat.steepest(slope))
        weight = 1.0 if step == 1 else 0.75
        there = project(here + weight * (stepped - here) + (1 - weight) * (here - before))
        iterates.append(there)
        values.append(loss(there).item())
        slopes.append(gradient(there))
        if values[-1] > values[best]:
            best = step
        here, before, slope = there, here, slopes[-1]
        if step in marks:
            rises = sum(values[i] > values[i - 1] for i in range(last_mark + 1, step + 1))
            few = rises <= rho * (step - last_mark)
            stuck = not reduced and best_at_mark >= values[best]
            reduced, best_at_mark, last_mark = few or stuck, values[best], step
            if reduced:
                alpha, here, slope = alpha / 2, iterates[best], slopes[best]
    return iterates, values


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.015), ("L2", 0.12)])
def test_it_is_the_algorithm_of_the_paper(lab, norm, eps):
    shared, images, labels = lab.small_net()
    # In double precision, where rounding does not decide which of two losses is higher.
    model = lab.frozen(copy.deepcopy(shared.network).double(), 10)
    images = images[:8].double()
    for row in range(8):
        job = lab.task(norm, eps, seed=4, indices=[row])
        image, label = images[row : row + 1], labels[row : row + 1]
        iterates, values = paper(model, image, label, job, 100)
        wrong = [not lab.right(model, iterate, label).item() for iterate in iterates]
        pool = [index for index in range(101) if wrong[index]] or range(101)
        expected = iterates[max(pool, key=lambda index: values[index])]

        torch.testing.assert_close(apgd(model, image, label, job, steps=100), expected, atol=1e-6, rtol=0)
        first = iterates[wrong.index(True)] if any(wrong) else expected
        stopped = apgd(model, image, label, job.replace(stop_early=True), steps=100)
        torch.testing.assert_close(stopped, first, atol=1e-6, rtol=0)


def zeros(count):
    return torch.zeros(count, dtype=torch.long)


def test_checkpoints_of_a_hundred_steps_are_those_of_the_paper():
    assert list(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert list(checkpoints(100).values()) == [22, 19, 16, 13, 10, 7, 6, 6]


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 33, 1000])
def test_checkpoints_of_any_number_of_steps_follow_each_other(steps):
    found = checkpoints(steps)
    assert max(found) <= steps
    assert min(found.values()) >= 1
    assert sum(found.values()) == max(found)


def test_the_first_step_is_two_eps_long(lab):
    # A ball so small that nothing else matters: from any start, 2 eps crosses it wholly.
    model, images, labels = lab.at_reach([0.5, 0.5], 1e-3, "Linf")
    adversarial = apgd(model, images, labels, lab.task("Linf", 1e-3, 2), steps=1)
    assert (adversarial - images).abs().min().item() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize(
    ("given", "forwards", "backwards"),
    [
        ({}, 8, 7),
        ({"loss": "margin"}, 8, 7),
        ({"restarts": 3}, 24, 21),
        ({"draws": 4}, 32, 28),
        ({"loss": "dlr-targeted"}, 1 + 9 * 8, 9 * 7),
        ({"loss": "dlr-targeted", "targets": 4, "restarts": 2}, 1 + 8 * 8, 8 * 7),
        ({"loss": "dlr-targeted", "targets": (3,)}, 1 + 8, 7),
    ],
)
@pytest.mark.parametrize("stop_early", [True, False])
def test_an_image_that_is_never_lost_costs_exactly_this(lab, given, forwards, backwards, stop_early):
    model, images, labels = lab.small_net()
    images, labels = images[:5], labels[:5]
    job = lab.task("Linf", 1e-7, stop_early=stop_early)
    adversarial, counts = lab.counted(model, lambda: apgd(model, images, labels, job, steps=7, **given))
    assert lab.right(model, adversarial, labels).all()
    assert counts == (5 * forwards, 5 * backwards)


def test_an_image_that_is_lost_at_its_start_costs_one_pass(lab):
    model, images, labels = lab.small_net()
    job = lab.task("Linf", 1e-7, stop_early=True)
    _, counts = lab.counted(model, lambda: apgd(model, images[:5], (labels[:5] + 1) % 10, job, restarts=3))
    assert counts == (5, 5)


def test_early_stopping_pays_for_the_survivors_of_each_step(lab):
    model, images, labels = lab.small_net()
    job = lab.task("Linf", 0.015, stop_early=True, seed=2)
    alone = []
    for row in range(len(images)):
        one = job.replace(indices=[row])
        found = lab.counted(model, lambda row=row, one=one: apgd(model, images[[row]], labels[[row]], one, steps=20))
        alone.append(found[1])
    _, counts = lab.counted(model, lambda: apgd(model, images, labels, job, steps=20))
    assert counts == tuple(sum(column) for column in zip(*alone, strict=True))
    assert counts[0] < 21 * len(images)


def test_restarts_reach_what_one_start_does_not(lab):
    model, images, labels = lab.small_net()
    fewer = 0
    for seed in range(8):
        job = lab.task("Linf", 0.015, stop_early=True, seed=seed)
        left = [lab.right(model, apgd(model, images, labels, job, steps=1, restarts=n), labels) for n in (1, 8)]
        assert (left[1] <= left[0]).all()
        fewer += int(left[0].sum() - left[1].sum())
    assert fewer


class Prototypes(nn.Module):
    """Give class k the brightness of pixel k as its logit: every class is one pixel away."""

    def forward(self, images):
        return images.flatten(1)[:, :10]


def test_targets_are_the_likeliest_wrong_classes_in_turn(lab):
    model, images = lab.frozen(Prototypes(), 10), torch.full((1, *lab.SHAPE), 0.5)
    images[0, 0, 0, :8] = torch.tensor([0.9, 0.5, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1])
    for rank, target in ((1, 2), (2, 3)):
        found = apgd(model, images, zeros(1), lab.task("Linf", 0.02), loss="dlr-targeted", targets=(rank,), steps=30)
        moved = (found - images).flatten()
        assert moved[target].item() == pytest.approx(0.02, abs=1e-4)
        assert moved[0].item() == pytest.approx(-0.02, abs=1e-4)


def test_a_loss_without_enough_classes_is_a_sentence(lab):
    model, images, labels = lab.at_reach([0.5], 0.01, "Linf")
    with pytest.raises(SpecError, match=r"^The loss 'dlr' is defined from 3 classes on, and this model has 2; choose"):
        apgd(model, images, labels, lab.task(classes=2), loss="dlr")


class Noisy(nn.Module):
    """Add to each image fresh noise that hides the direction to climb in."""

    def __init__(self, network, level):
        super().__init__()
        self.network, self.level = network, level

    def forward(self, images):
        return self.network(images + self.level * torch.randn_like(images))


def test_averaging_draws_sees_through_a_random_model(lab):
    _, images, labels = lab.small_net()
    model = lab.frozen(Noisy(lab.small_net()[0].network, 0.15), 10)
    job, plain = lab.task("Linf", 0.03), lab.small_net()[0]
    losses = []
    for draws in (1, 16):
        torch.manual_seed(0)
        adversarial = apgd(model, images, labels, job, steps=10, draws=draws)
        losses.append(F.cross_entropy(plain(adversarial), labels).item())
    assert losses[1] > losses[0]
