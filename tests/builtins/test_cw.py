"""CW against borders whose distance is known by hand, against torch's Adam, and against torchattacks."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robench import Classifier, SpecError, Task, ThreatModel
from robench.contracts.parameters import resolve
from robench.evidence.meter import Meter
from robench_builtins.attacks.cw import CW, Adam, leads

SHAPE = (3, 4, 4)
SIZE = 48


class Linear(nn.Module):
    """Score class k by w_k.(x - 0.5) + b, whatever b: a shift of all logits changes no answer."""

    def __init__(self, weights, shift=0.0):
        super().__init__()
        self.weights = nn.Parameter(weights)
        self.shift = shift

    def forward(self, images):
        return (images - 0.5).flatten(1) @ self.weights.T + self.shift


def frozen(network, classes):
    return Classifier(network, classes).eval().requires_grad_(False)


def linear(classes=5, shift=0.0):
    return frozen(Linear(torch.randn(classes, SIZE, generator=torch.Generator().manual_seed(3)), shift), classes)


def pixels(count, low=0.3, high=0.7):
    return low + (high - low) * torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1))


def task(eps, classes=5, norm="L2", **fields):
    return Task(classes=("c",) * classes, shape=SHAPE, threat_model=ThreatModel(norm, eps), **fields)


def borders(model, images, labels, kappa=0.0):
    """Return the distance from each image to the nearest point where another logit leads by ``kappa``; no box."""
    weights = model.network.weights
    logits = model(images)
    gaps = logits.gather(1, labels[:, None]) - logits + kappa
    sizes = (weights[labels][:, None] - weights[None]).norm(dim=2)
    return torch.where(F.one_hot(labels, len(weights)).bool(), float("inf"), gaps / sizes).amin(1)


def lengths(images, found):
    return (found - images).flatten(1).norm(dim=1)


# --- what it finds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kappa", "shift"), [(0.0, 0.0), (0.0, -50.0), (0.5, 50.0)])
def test_the_nearest_error_of_a_linear_model_is_found(kappa, shift):
    model, images = linear(shift=shift), pixels(12)
    labels = model(images).argmax(1)
    known = borders(model, images, labels, kappa)
    # Adam moves a pixel by about its rate: that is how near it comes.
    attack = CW(steps=200, learning_rate=0.004, confidence=kappa)
    found = attack.craft(model, images, labels, task(100.0))
    assert (model(found).argmax(1) != labels).all()
    assert (leads(model(found), labels) >= kappa).all()
    excess = lengths(images, found) - known
    assert excess.min() > -1e-5
    assert (excess < 0.001 + 0.02 * known).all()


@pytest.mark.parametrize("stop_early", [True, False])
def test_images_fall_exactly_where_the_border_lies_inside_the_ball(stop_early):
    model, images = linear(), pixels(24)
    labels = model(images).argmax(1)
    known = borders(model, images, labels)
    eps = known.median().item() * 1.0001
    near, far = known < eps / 1.02, known > eps
    found = CW(steps=150).craft(model, images, labels, task(eps, stop_early=stop_early))
    wrong = model(found).argmax(1) != labels
    assert 5 < near.sum() < 19
    assert wrong[near].all()
    assert not wrong[far].any()
    assert lengths(images, found).max() <= eps + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1


def test_black_and_white_pixels_move_where_torchattacks_cannot_move_them():
    ta = pytest.importorskip("torchattacks")
    weights = torch.zeros(2, SIZE)
    weights[0, :8], weights[1, 8:16] = 1.0, 1.0
    model = frozen(Linear(weights, shift=5.0), 2)
    images = torch.zeros(1, *SHAPE)
    images.view(-1)[:4] = 1.0  # s0 - s1 = 4: four white pixels to darken, four black ones to light among others
    labels = torch.zeros(1, dtype=torch.long)
    theirs = ta.CW(model, c=1000, steps=400)(images, labels)
    assert torch.equal(theirs, images)
    mine = CW(steps=500, searches=3, constant=1.0).craft(model, images, labels, task(100.0, 2))
    assert model(mine).argmax(1).item() == 1
    assert lengths(images, mine).item() == pytest.approx((4**2 / 12) ** 0.5, rel=0.1)  # 12 pixels can help, by 1/3


def test_more_searches_never_lose_ground():
    model, images = linear(), pixels(8)
    labels = model(images).argmax(1)
    runs = [CW(steps=60, searches=searches).craft(model, images, labels, task(100.0)) for searches in (4, 6, 9)]
    wrong = [model(found).argmax(1) != labels for found in runs]
    for (fewer, lost), (more, lost_now) in itertools.pairwise(zip(runs, wrong, strict=True)):
        assert (lost_now | ~lost).all()
        assert (lengths(images, more) <= lengths(images, fewer) + 1e-6)[lost].all()
    assert wrong[-1].all()


def test_without_any_error_the_last_iterate_comes_back_inside_the_ball():
    model, images = linear(), pixels(3)
    labels = model(images).argmax(1)
    found = CW(steps=20, searches=1, constant=0.01, abort_early=False).craft(model, images, labels, task(1e-3))
    assert (model(found).argmax(1) == labels).all()
    assert 0 < lengths(images, found).max() <= 1e-3 + 1e-6


# --- its parts ----------------------------------------------------------------------------------------------


def test_adam_is_torch_s():
    start, generator = torch.randn(4, 6), torch.Generator().manual_seed(0)
    theirs = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([theirs], lr=0.01)
    mine, adam = start, Adam(0.01, torch.zeros(4, 6), torch.zeros(4, 6))
    for number in range(1, 30):
        theirs.grad = torch.randn(4, 6, generator=generator) * 10.0 ** (number % 5 - 2)
        optimizer.step()
        mine, adam = adam.step(mine, theirs.grad, number)
        torch.testing.assert_close(mine, theirs.detach(), atol=1e-6, rtol=1e-5)


def test_the_constant_goes_up_tenfold_and_is_then_bisected():
    """One pixel, 0.5 away from a border of slope 1: an error needs c above a value known by hand."""
    seen = []

    class Watched(CW):
        """Note the constants."""

        def _descend(self, model, search, rows, task):
            seen.append(search.constants[0].item())
            return super()._descend(model, search, rows, task)

    weights = torch.zeros(2, SIZE)
    weights[0, 0] = 1.0
    model, images = frozen(Linear(weights), 2), torch.full((1, *SHAPE), 0.5)
    images.view(-1)[0] = 0.6
    # |d|^2 - c d falls until d = c / 2, so that the border at d = 0.1 is passed once c > 0.2.
    found = Watched(steps=100, searches=8, abort_early=False).craft(
        model, images, torch.zeros(1, dtype=torch.long), task(10.0, 2)
    )
    assert seen == pytest.approx([0.001, 0.01, 0.1, 1.0, 0.55, 0.325, 0.2125, 0.15625], rel=1e-5)
    assert lengths(images, found).item() == pytest.approx(0.1, rel=0.01)


# --- torchattacks -------------------------------------------------------------------------------------------


def test_same_images_as_torchattacks_where_its_rule_is_right():
    """One constant, another logit above 0, grey pixels, and no stop of the batch in the steps taken."""
    ta = pytest.importorskip("torchattacks")
    model, images = linear(shift=50.0), pixels(12)
    labels = model(images).argmax(1)
    theirs = ta.CW(model, c=3, steps=40, lr=0.01)(images, labels)
    mine = CW(searches=1, constant=3.0, steps=40, abort_early=False).craft(model, images, labels, task(100.0))
    fell = model(theirs).argmax(1) != labels
    assert torch.equal(model(mine).argmax(1) != labels, fell)
    assert fell.sum() > 3
    torch.testing.assert_close(mine[fell], theirs[fell], atol=1e-4, rtol=0)


def test_torchattacks_gives_up_where_all_other_logits_are_negative():
    ta = pytest.importorskip("torchattacks")
    model, images = linear(shift=-50.0), pixels(6)
    labels = model(images).argmax(1)
    theirs = ta.CW(model, c=1000, steps=200)(images, labels)
    assert torch.equal(theirs, images)
    mine = CW(steps=200).craft(model, images, labels, task(100.0))
    assert (model(mine).argmax(1) != labels).all()


# --- the contract -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_early", [True, False])
def test_a_survivor_costs_every_step_of_every_search(stop_early):
    model, meter, images = linear(), Meter(), pixels(4)
    attack = CW(steps=12, searches=3, abort_early=False)
    with meter.counting(model):
        attack.craft(model, images, model(images).argmax(1), task(1e-6, stop_early=stop_early))
    assert (meter.forwards / 4 - 1, meter.backwards / 4) == (36, 36) == attack.passes()  # one for the labels


def test_an_image_leaves_at_its_first_error_inside_the_ball_and_a_stalled_search_ends():
    model, images = linear(), pixels(4)
    labels = model(images).argmax(1)

    def forwards(attack, eps, labels=labels):
        meter = Meter()
        with meter.counting(model):
            attack.craft(model, images, labels, task(eps, stop_early=True))
        return meter.forwards

    assert forwards(CW(), 1.0, (labels + 1) % 5) == 4  # every image errs as it is
    assert forwards(CW(steps=400, searches=1), 1e-6) < forwards(CW(steps=400, searches=1, abort_early=False), 1e-6)


@pytest.mark.parametrize("stop_early", [True, False])
def test_an_image_is_treated_alike_in_every_batch(stop_early):
    model, images = linear(), pixels(10)
    labels = model(images).argmax(1)
    eps = borders(model, images, labels).median().item()
    attack = CW(steps=60, searches=5)
    together = attack.craft(model, images, labels, task(eps, stop_early=stop_early))
    for rows in ([0], list(range(1, 6)), list(range(6, 10))):
        job = task(eps, stop_early=stop_early, indices=rows)
        torch.testing.assert_close(
            attack.craft(model, images[rows], labels[rows], job), together[rows], atol=1e-5, rtol=0
        )


def test_linf_is_refused_with_what_to_take_there():
    with pytest.raises(SpecError, match=r"^cw works in L2, not in Linf; apgd\[loss=margin\] climbs the same margin"):
        CW().check(ThreatModel("Linf", 0.1))
    CW().check(ThreatModel("L2", 0.5))


def test_parameters_and_source():
    assert CW().parameters == {
        "steps": 1000,
        "searches": 9,
        "constant": 0.001,
        "learning_rate": 0.01,
        "confidence": 0.0,
        "abort_early": True,
    }
    assert "1608.04644" in CW.source
    assert CW().iterative
    with pytest.raises(SpecError, match=r"^cw\.confidence must be at least 0"):
        resolve("cw", CW, {"confidence": "-1"})


def test_listing_it_imports_no_torch():
    code = "import robench_builtins.attacks.cw, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
