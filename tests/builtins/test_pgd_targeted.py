"""Targeted PGD against models whose regions are known by hand, against PGD, and against torchattacks."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
from torch import nn

from robench import Classifier, SpecError, Task, ThreatModel
from robench.evidence.meter import Meter
from robench_builtins.attacks.pgd import PGD
from robench_builtins.attacks.pgd_targeted import TargetedPGD

SHAPE = (3, 4, 4)
TEN = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Prototypes(nn.Module):
    """Give class k the logit 20 * (brightness of pixel k): every class is one pixel away."""

    def forward(self, images):
        return 20 * images.flatten(1)[:, :10]


class Street(nn.Module):
    """Number the classes 0, 1, 2 along the brightness of all pixels, with borders at 0.5 and 0.6."""

    def forward(self, images):
        along = (images.flatten(1).mean(1, keepdim=True) - 0.45) / 0.1
        place = torch.arange(3)
        return 10 * (place * along - place * place / 2)


def frozen(network, classes=10):
    return Classifier(network, classes).eval().requires_grad_(False)


def small_net():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10)
        )
    model = frozen(network)
    network[-1].weight.data *= 20
    network[-1].bias.data -= model(pixels(48)).mean(0)  # so that every class has its share of the images
    return model


def pixels(count):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1))


def task(eps, norm="Linf", classes=TEN, **fields):
    return Task(classes=classes, shape=SHAPE, threat_model=ThreatModel(norm, eps), **fields)


def grey(value, count=1):
    return torch.full((count, *SHAPE), value)


def zeros(count):
    return torch.zeros(count, dtype=torch.long)


# --- where it goes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_early", [True, False])
@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("target", ["ship", "8"])
def test_a_class_is_given_by_name_or_number(target, norm, stop_early):
    images, model = grey(0.5, 3), frozen(Prototypes())
    images[:, 0, 0, 1] = 0.6
    labels = torch.full((3,), 1)
    found = TargetedPGD(target=target).craft(model, images, labels, task(0.2, norm, stop_early=stop_early))
    assert model(found).argmax(1).tolist() == [8, 8, 8]


def test_a_name_counts_before_a_number():
    images, model = grey(0.5), frozen(Prototypes())
    images[:, 0, 1, 1] = 0.6  # pixel 5
    shifted = tuple(str(number) for number in range(1, 11))
    found = TargetedPGD(target="3").craft(model, images, torch.tensor([5]), task(0.2, classes=shifted))
    assert model(found).argmax(1).tolist() == [2]


@pytest.mark.parametrize("target", ["Ship", "10", "-1", "submarine", ""])
def test_no_such_class_is_a_sentence(target):
    message = (
        f"pgd-targeted.target '{target}' is no class of this dataset; write least-likely, random, a number from 0 to "
        "9, or one of: plane, car, bird, cat, deer, dog, frog, horse, ship, truck."
    )
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        TargetedPGD(target=target).craft(frozen(Prototypes()), grey(0.5), zeros(1), task(0.1))


def test_the_least_likely_class_is_never_the_label():
    images, model = grey(0.5), frozen(Prototypes())
    images[0, 0, 0, 0], images[0, 0, 0, 1] = 0.3, 0.4  # the label itself is least likely, class 1 comes next
    assert model(TargetedPGD().craft(model, images, zeros(1), task(0.3))).argmax(1).tolist() == [1]


def test_random_targets_reach_every_class_but_the_label():
    labels = torch.arange(10).repeat_interleave(100)
    model = frozen(Prototypes())
    reached = model(TargetedPGD(target="random", steps=5).craft(model, grey(0.5, 1000), labels, task(0.2))).argmax(1)
    for label in range(10):
        assert set(reached[labels == label].tolist()) == set(range(10)) - {label}


@pytest.mark.parametrize(("share", "reached"), [(0.98, True), (1.02, False)])
def test_it_reaches_the_target_exactly_where_the_ball_does(share, reached):
    eps = 0.05
    images, model = grey(0.5), frozen(Prototypes())
    images[0, 0, 0, 3] += 2 * eps * share  # the target's pixel can rise by eps while this one falls by eps
    found = TargetedPGD(target="ship", random_start=False, steps=10).craft(
        model, images, torch.tensor([3]), task(eps, stop_early=True)
    )
    assert (model(found).argmax(1).item() == 8) is reached


# --- when it stops ------------------------------------------------------------------------------------------


def test_it_goes_on_past_the_first_error_to_the_target():
    model, images, job = frozen(Street(), 3), grey(0.42, 2), task(0.2, classes=("a", "b", "c"), stop_early=True)
    mine = TargetedPGD(target="c", random_start=False, steps=20).craft(model, images, zeros(2), job)
    first = PGD(target="least-likely", random_start=False, steps=20).craft(model, images, zeros(2), job)
    assert model(first).argmax(1).tolist() == [1, 1]
    assert model(mine).argmax(1).tolist() == [2, 2]
    assert job.history == [{"attacked": 2.0, "on target": 2.0}]


def test_an_error_found_on_the_way_is_kept_when_the_target_is_out_of_reach():
    model, images, job = frozen(Street(), 3), grey(0.42), task(0.12, classes=("a", "b", "c"), stop_early=True)
    attack = TargetedPGD(target="c", random_start=False, steps=12, step_size=0.01)
    found = attack.craft(model, images, zeros(1), job)
    assert model(found).argmax(1).tolist() == [1]
    assert found.mean().item() == pytest.approx(0.51, abs=1e-6)  # the first iterate beyond the border at 0.5
    assert job.history == [{"attacked": 1.0, "on target": 0.0}]


def test_an_image_of_the_target_class_is_driven_out_of_it():
    model, job = frozen(Street(), 3), task(0.1, classes=("a", "b", "c"), stop_early=True)
    found = TargetedPGD(target="b").craft(model, grey(0.57), torch.tensor([1]), job)
    assert model(found).argmax(1).item() != 1
    assert job.history == [{"attacked": 1.0, "on target": 0.0}]


@pytest.mark.parametrize("restarts", [1, 3])
@pytest.mark.parametrize("target", ["least-likely", "random"])
def test_it_errs_on_exactly_the_images_on_which_pgd_with_that_target_errs(target, restarts):
    model, images = small_net(), pixels(48)
    labels, job = model(images).argmax(1), task(0.08, stop_early=True, seed=3)
    given = {"steps": 6, "restarts": restarts, "target": target}
    mine, other = (kind(**given).craft(model, images, labels, job) for kind in (TargetedPGD, PGD))
    lost = model(other).argmax(1) != labels
    assert torch.equal(model(mine).argmax(1) != labels, lost)
    assert 0 < lost.sum() < 48
    assert 0 < job.history[0]["on target"] < job.history[0]["attacked"] == 48


def test_for_transfer_it_is_pgd_with_that_target_bit_by_bit():
    model, images = small_net(), pixels(12)
    labels, job = model(images).argmax(1), task(8 / 255, seed=3)
    for target in ("least-likely", "random"):
        given = {"steps": 4, "restarts": 2, "target": target}
        mine, other = (kind(**given).craft(model, images, labels, job) for kind in (TargetedPGD, PGD))
        assert torch.equal(mine, other)
    assert job.history == []


@pytest.mark.parametrize(
    ("attack", "forwards", "backwards"),
    [
        (TargetedPGD(steps=7), 9, 7),
        (TargetedPGD(steps=7, target="random"), 8, 7),
        (TargetedPGD(steps=3, restarts=4, target="ship"), 16, 12),
    ],
    ids=["least likely", "random", "given"],
)
def test_what_a_survivor_costs_is_what_it_promises(attack, forwards, backwards):
    model, meter = small_net(), Meter()
    images = pixels(5)
    labels = model(images).argmax(1)
    with meter.counting(model):
        attack.craft(model, images, labels, task(1e-6, stop_early=True))
    assert (meter.forwards / 5, meter.backwards / 5) == (forwards, backwards) == attack.passes()


@pytest.mark.parametrize("stop_early", [True, False])
@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_an_image_is_treated_alike_in_every_batch(norm, stop_early):
    model, images = small_net(), pixels(12)
    labels, job = model(images).argmax(1), task(0.02, norm, stop_early=stop_early, seed=9)
    attack = TargetedPGD(steps=5, restarts=2, target="random")
    together = attack.craft(model, images, labels, job)
    parts = [
        attack.craft(model, images[rows], labels[rows], job.replace(indices=rows))
        for rows in ([0], list(range(1, 8)), list(range(8, 12)))
    ]
    torch.testing.assert_close(torch.cat(parts), together, atol=1e-6, rtol=0)


# --- parity, parameters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_same_images_as_torchattacks_towards_a_given_class(norm):
    torchattacks = pytest.importorskip("torchattacks")
    model, images = small_net(), pixels(16)
    labels = model(images).argmax(1)
    keep = labels != 8
    images, labels = images[keep], labels[keep]
    kind, eps, alpha = (torchattacks.PGD, 8 / 255, 2 / 255) if norm == "Linf" else (torchattacks.PGDL2, 0.3, 0.07)
    reference = kind(model, eps=eps, alpha=alpha, steps=10, random_start=False)
    reference.set_mode_targeted_by_function(lambda images, labels: torch.full_like(labels, 8))
    attack = TargetedPGD(steps=10, step_size=alpha, random_start=False, target="ship")
    mine = attack.craft(model, images, labels, task(eps, norm))
    torch.testing.assert_close(mine, reference(images, labels), atol=1e-5, rtol=0)


def test_a_step_as_large_as_the_ball_is_refused_under_its_own_name():
    with pytest.raises(SpecError, match=r"^pgd-targeted\.step_size 0\.1 is not smaller than eps 8/255:"):
        TargetedPGD(step_size=0.1).check(ThreatModel("Linf", 8 / 255))


def test_parameters_and_source():
    assert TargetedPGD().parameters == {
        "steps": 20,
        "step_size": None,
        "restarts": 1,
        "random_start": True,
        "as_published": False,
        "target": "least-likely",
    }
    assert TargetedPGD.name == "pgd-targeted"
    assert "Kurakin" in TargetedPGD.source


def test_listing_it_imports_no_torch():
    code = "import robench_builtins.attacks.pgd_targeted, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
