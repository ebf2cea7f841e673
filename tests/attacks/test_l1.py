"""The attacks in L1: exact answers on a linear model in the box, a transcription of the paper, costs, official code."""

from __future__ import annotations

import copy
import logging
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from robench import SpecError, ThreatModel, apgd, autoattack, fab, input_gradient, noise, square
from robench.attacks.apgd_l1 import balls
from robench.attacks.square_patches import patches_for, two_pyramids
from robench.attacks.tile_search import tiles
from robench.contracts.l1_ball import highest_in_l1
from robench.testing.attack_checks import OneByOne
from robench_builtins.attacks.apgd import APGD
from robench_builtins.attacks.autoattack import AutoAttack
from robench_builtins.attacks.fgsm import FGSM
from robench_builtins.attacks.pgd import PGD

EPS = 0.7

#: Attack, and the share of what a linear score can be lowered by at most that it reaches at least.
ATTACKS = {
    "fgsm": (FGSM().craft, 0.9999),
    "pgd": (PGD(steps=100).craft, 0.95),
    "apgd": (partial(apgd, steps=100, loss="margin"), 0.9),
    "apgd, one ball": (partial(apgd, steps=100, loss="margin", larger_radii=False), 0.9),
    "square": (partial(square, queries=300), 0.25),
    "tiles": (tiles, 0.25),
    "noise": (partial(noise, draws=5), 0.0),
}
MANY_CLASSES = {
    "fgsm": FGSM().craft,
    "pgd": PGD(steps=5).craft,
    "apgd": partial(apgd, steps=10),
    "apgd-t": partial(apgd, loss="dlr-targeted", steps=4, targets=2),
    "fab": partial(fab, steps=5, targets=2, restarts=2),
    "square": partial(square, queries=20),
    "tiles": partial(tiles, rounds=2, side=3),
    "noise": partial(noise, draws=3),
    "autoattack": partial(autoattack, steps=4, queries=10),
}
every = pytest.mark.parametrize("attack", MANY_CLASSES.values(), ids=MANY_CLASSES)
early = pytest.mark.parametrize("stop_early", [True, False], ids=["early", "all steps"])


def linear(lab, count=6):
    """Return a linear model of two classes, images with black and white pixels, and what each can lose at most."""
    model, w = lab.two_sided()
    images = torch.rand(count, *lab.SHAPE, generator=lab.generator(5))
    images[images < 0.2], images[images > 0.8] = 0.0, 1.0
    best = highest_in_l1(images.double(), -w.double().view(lab.SHAPE).expand(images.shape), EPS)
    most = ((images.double() - best).flatten(1) @ w.double()).float()
    return model, images, torch.zeros(count, dtype=torch.long), w, most


@pytest.mark.parametrize(("attack", "share"), ATTACKS.values(), ids=ATTACKS)
def test_a_linear_score_falls_by_no_more_than_the_knapsack_and_by_its_share_at_least(lab, attack, share):
    model, images, labels, w, most = linear(lab)
    moved = attack(model, images, labels, lab.task("L1", EPS, 2))
    # The margin is twice the score, so that the score is what every attack climbs; none may stop at an error.
    lost = (images - moved).flatten(1) @ w
    assert (lost <= most * (1 + 1e-5)).all()
    assert (lost >= share * most).all()


def test_fab_finds_the_nearest_error_of_a_linear_model(lab):
    model, images, labels, w, most = linear(lab)
    # Each image is put where a share of the knapsack's reach loses it.
    shares = torch.tensor([0.5, 0.9, 0.98, 1.02, 1.1, 2.0])
    shift = shares * most - (images - 0.5).flatten(1) @ w
    for row, falls in enumerate([True, True, True, False, False, False]):
        moved_model = lab.frozen(Shifted(model.network, float(shift[row])), 2)
        image, label, task = images[[row]], labels[[row]], lab.task("L1", EPS, 2)
        assert lab.right(moved_model, image, label).all()
        found = fab(moved_model, image, label, task, steps=30)
        assert lab.right(moved_model, found, label).tolist() == [not falls]


class Shifted(torch.nn.Module):
    """Add a constant to the score of class 0 and take it from that of class 1."""

    def __init__(self, network, shift):
        super().__init__()
        self.network, self.shift = network, shift

    def forward(self, images):
        return self.network(images) + self.shift * torch.tensor([1.0, -1.0])


@every
@early
@pytest.mark.parametrize("eps", [0.3, 12.0])
def test_the_result_lies_in_the_box_and_the_ball_and_does_not_depend_on_the_batch(lab, attack, eps, stop_early):
    shared, images, labels = lab.small_net()
    model = lab.frozen(OneByOne(shared.network), 10)
    images, labels = images[:4].clone(), labels[:4]
    images[0], images[1] = 0.0, 1.0
    job = lab.task("L1", eps, seed=9, stop_early=stop_early)
    together = attack(model, images, labels, job)

    assert (together.shape, together.dtype) == (images.shape, torch.float32)
    assert together.min() >= 0
    assert together.max() <= 1
    assert ThreatModel("L1", eps).distance(images, together).max() <= eps + 1e-6
    parts = [attack(model, images[rows], labels[rows], job.replace(indices=rows)) for rows in ([3], [0, 2], [1])]
    assert torch.equal(torch.cat(parts), together[[3, 0, 2, 1]])


@every
def test_no_radius_gives_back_the_same_bits(lab, attack):
    model, images, labels = lab.small_net()
    assert torch.equal(attack(model, images[:4], labels[:4], lab.task("L1", 0.0)), images[:4])


@pytest.mark.parametrize("name", [name for name in MANY_CLASSES if name != "pgd"])  # whose last iterate counts
def test_early_stopping_changes_no_verdict(lab, name):
    (model, images, labels), attack = lab.small_net(), MANY_CLASSES[name]
    found = [attack(model, images, labels, lab.task("L1", EPS, stop_early=early)) for early in (True, False)]
    assert torch.equal(*(lab.right(model, one, labels) for one in found))


def paper(model, image, label, job, steps, larger):
    """Return the iterates in the ball of eps, and their losses, for one image, as the paper and its code take them."""

    def loss(x):
        return F.cross_entropy(model(x), label, reduction="none")

    eps, size = job.threat.eps, image.numel()
    schedule = [(3, 0.3), (2, 0.3), (1, 0.4)] if larger else [(1, 1.0)]
    noise = job.normal(image, "apgd", 0, 0)
    point = image + noise
    for factor, share in schedule:
        threat, count = ThreatModel("L1", factor * eps), round(share * steps)
        here = threat.project(image, point)
        value, slope = loss(here).item(), input_gradient(loss, here)[1]
        iterates, values, best, best_slope, best_value = [here], [value], here, slope, value
        fraction = (here != image).sum().item() / size / 1.5 if larger else 0.2
        before, step_size = (here != image).sum().item() if larger else size, factor * eps
        every = max(int(0.04 * count), 1)
        for step in range(1, count + 1):
            least = slope.abs().flatten().sort().values[int(min(max((1 - fraction) * size + 1e-9, 0), size - 1))]
            sparse = slope.sign() * (slope.abs() >= least)
            here = threat.project(image, here + step_size * sparse / sparse.abs().sum())
            value, slope = loss(here).item(), input_gradient(loss, here)[1]
            iterates.append(here)
            values.append(value)
            if value > best_value:
                best, best_slope, best_value = here, slope, value
            if step % every == 0:
                now = (best != image).sum().item()
                if now / before < 0.95:
                    step_size, here, slope = factor * eps, best, best_slope
                else:
                    step_size = max(step_size / 1.5, factor * eps / 10)
                fraction, before = now / size / 1.5, now
        point = best
    return iterates, values


@pytest.mark.parametrize("larger", [True, False])
def test_apgd_is_the_algorithm_of_the_paper(lab, larger):
    shared, images, labels = lab.small_net()
    # In double precision, where rounding does not decide which of two losses is higher.
    model, images = lab.frozen(copy.deepcopy(shared.network).double(), 10), images[:3].double()
    for row in range(3):
        job = lab.task("L1", EPS, seed=4, indices=[row])
        image, label = images[row : row + 1], labels[row : row + 1]
        iterates, values = paper(model, image, label, job, 50, larger)
        wrong = [not lab.right(model, iterate, label).item() for iterate in iterates]
        pool = [index for index in range(len(iterates)) if wrong[index]] or range(len(iterates))
        expected = iterates[max(pool, key=lambda index: values[index])]
        found = apgd(model, image, label, job, steps=50, larger_radii=larger)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
        first = iterates[wrong.index(True)] if any(wrong) else expected
        stopped = apgd(model, image, label, job.replace(stop_early=True), steps=50, larger_radii=larger)
        torch.testing.assert_close(stopped, first, atol=1e-6, rtol=0)


def test_the_steps_are_shared_as_in_the_official_code():
    assert balls(100, True) == [(3.0, 30), (2.0, 30), (1.0, 40)]
    assert balls(100, False) == [(1.0, 100)]
    assert [balls(steps, True) for steps in (1, 2, 3)] == [[(1, 1)], [(1, 2)], [(3, 1), (2, 1), (1, 1)]]
    assert all(sum(count for _, count in balls(steps, True)) == steps for steps in range(1, 40))


@early
@pytest.mark.parametrize(
    ("attack", "given"),
    [(APGD, {"steps": 7}), (APGD, {"steps": 2}), (APGD, {"steps": 3, "larger_radii": False, "restarts": 2}),
     (APGD, {"steps": 3, "loss": "dlr-targeted", "targets": 4, "draws": 2}), (AutoAttack, {"steps": 4, "queries": 12}),
     (AutoAttack, {"steps": 4, "variant": "rand", "draws": 2})],
)  # fmt: skip
def test_an_image_that_is_never_lost_costs_exactly_what_is_promised(lab, attack, given, stop_early):
    model, images, labels = lab.small_net()
    task, component = lab.task("L1", 1e-6, stop_early=stop_early), attack(**given)
    _, counts = lab.counted(model, lambda: component.craft(model, images[:5], labels[:5], task))
    assert counts == tuple(5 * count for count in component.passes_in(task.threat))


@pytest.mark.parametrize(
    ("given", "norm", "message"),
    [
        ({"rho": 0.5}, "L1", "apgd.rho 0.5 does nothing in L1, where no rising steps are counted; leave it out."),
        ({"larger_radii": False}, "L2", "apgd.larger_radii does nothing in L2, only in L1; leave it out."),
        ({"larger_radii": False}, "Linf", "apgd.larger_radii does nothing in Linf, only in L1; leave it out."),
    ],
)
def test_a_parameter_that_does_nothing_in_a_norm_is_refused(given, norm, message):
    with pytest.raises(SpecError) as raised:
        APGD(**given).check(ThreatModel(norm, 0.5))
    assert str(raised.value) == message


def test_a_bump_is_two_opposite_pyramids_whose_values_sum_to_one():
    bump = two_pyramids(5, torch.device("cpu"), norm=1)
    assert bump.abs().sum().item() == pytest.approx(1.0)
    assert (bump[:2] > 0).all()
    assert (bump[2:] < 0).all()
    # Rows 2 to 4 are a pyramid whose top is in the middle: layers add 1, 1/16 and 1/81 from inside out.
    tail = [sum(1 / (k + 1) ** 4 for k in range(layer, 3)) for layer in (0, 1, 2)]
    lower = (bump[2:] / bump[3, 2])[1].tolist()
    assert lower == pytest.approx([tail[2] / tail[0], tail[1] / tail[0], 1.0, tail[1] / tail[0], tail[2] / tail[0]])


def test_square_moves_the_budget_of_one_window_into_another(lab):
    shape, threat = (4, 3, 16, 12), ThreatModel("L1", 3.0)
    patches, grey = patches_for(shape, threat), torch.full(shape, 0.5)
    start = patches.start(grey, lab.task("L1", 3.0), 0)
    torch.testing.assert_close(threat.distance(grey, start), torch.full((4,), 3.0))
    given = torch.tensor([[-1.0, -1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]]).repeat(4, 1)  # first corner, last corner
    moved = patches.change(grey, start, given, 3)
    torch.testing.assert_close(threat.distance(grey, moved), torch.full((4,), 3.0))
    assert not (moved - grey)[:, :, 13:, 9:].any()


def official(name, model, eps):
    from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
    from pyautoattack.fab_pt import FABAttack_PT
    from pyautoattack.square import SquareAttack

    log = logging.getLogger("tests")
    log.disabled = True  # the official code warns of gradients that are zero
    given = {"norm": "L1", "eps": eps, "seed": 0}
    return {
        "apgd-ce": lambda: APGDAttack(model, loss="ce", use_largereps=True, logger=log, **given),
        "apgd-ce, one ball": lambda: APGDAttack(model, loss="ce", logger=log, **given),
        "apgd-t": lambda: APGDAttack_targeted(model, n_target_classes=3, use_largereps=True, logger=log, **given),
        "fab-t": lambda: FABAttack_PT(model, targeted=True, n_target_classes=2, **given),
        "square": lambda: SquareAttack(model, n_queries=300, resc_schedule=False, **given),
    }[name]().perturb


OURS = {
    "apgd-ce": apgd,
    "apgd-ce, one ball": partial(apgd, larger_radii=False),
    "apgd-t": partial(apgd, loss="dlr-targeted", targets=3),
    "fab-t": partial(fab, targets=2),
    "square": partial(square, queries=300),
}


@pytest.mark.parametrize("name", OURS)
def test_the_same_images_stand_as_under_the_official_code(lab, name):
    pytest.importorskip("pyautoattack")
    model, images, labels = lab.small_net()
    images, labels = images[:24], labels[:24]
    mine = OURS[name](model, images, labels, lab.task("L1", 0.4, stop_early=True))
    theirs = official(name, model, 0.4)(images.clone(), labels.clone())
    left, expected = lab.right(model, mine, labels), lab.right(model, theirs, labels)
    assert 0 < expected.sum() < len(images)
    # Other starts: an image at the edge is a matter of luck. Square draws other windows, and 300 of them fell a third.
    assert (left != expected).sum() <= (6 if name == "square" else 2)
    assert abs(int(left.sum()) - int(expected.sum())) <= (4 if name == "square" else 1)


def test_the_ways_to_the_hyperplane_are_the_official_ones():
    projections = pytest.importorskip("pyautoattack.fab_projections")
    from robench.attacks.hyperplane import shortest_to_hyperplane

    draw = torch.Generator().manual_seed(0)
    points, normals = torch.rand(40, 30, generator=draw), torch.randn(40, 30, generator=draw)
    offsets = torch.randn(40, generator=draw) * torch.linspace(0.1, 4, 40)
    ours = shortest_to_hyperplane(points, normals, offsets, "L1")
    theirs = projections.projection_l1(points, normals, (normals * points).sum(1) - offsets)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
