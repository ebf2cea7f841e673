"""PGD against models whose answer is known by hand, against a plain loop, and against torchattacks."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robench import Classifier, SpecError, Task, ThreatModel, input_gradient
from robench_builtins.attacks.fgsm import FGSM
from robench_builtins.attacks.pgd import PGD

SHAPE = (3, 4, 4)
DIMENSIONS = 48
TEN = tuple("abcdefghij")
LINF = ThreatModel("Linf", 8 / 255)
L2 = ThreatModel("L2", 0.3)


class Linear(nn.Module):
    """Score class 0 with w.(x - 0.5) and class 1 with its negative."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images):
        score = (images - 0.5).flatten(1) @ self.weight
        return torch.stack([score, -score], 1)


class Counting(Classifier):
    """Count images that pass forward and backward."""

    def __init__(self, network, classes):
        super().__init__(network, classes)
        self.forwards = self.backwards = 0

    def forward(self, images):
        logits = super().forward(images)
        self.forwards += len(images)
        if logits.requires_grad and images.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient):
        self.backwards += len(gradient)

    @property
    def counts(self):
        return self.forwards, self.backwards

    def reset(self):
        self.forwards = self.backwards = 0


def small_net(seed=0, classes=10, sharpness=1.0):
    """Return an untrained conv net whose logits are ``sharpness`` times as far apart as they come."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, classes),
    )
    network[-1].weight.data *= sharpness
    return network.eval()


def frozen(network, classes=10):
    return Counting(network.requires_grad_(False), classes).eval()


def pixels(count, seed=1):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def task(threat, classes=TEN, **fields):
    return Task(classes=classes, shape=SHAPE, threat_model=threat, **fields)


def weight():
    return torch.randn(DIMENSIONS, generator=torch.Generator().manual_seed(3))


def images_at(scores, w):
    """Return images whose score w.(x - 0.5) is exactly as given."""
    return 0.5 + (scores[:, None] * w / w.dot(w)).view(-1, *SHAPE)


def zeros(count):
    return torch.zeros(count, dtype=torch.long)


def contest(count=48, sharpness=20.0):
    """Return a model, images it classifies correctly, and their labels; margins differ widely."""
    model = frozen(small_net(sharpness=sharpness))
    images = pixels(count)
    labels = model(images).argmax(1)
    model.reset()
    return model, images, labels


def plain_loop(attack, model, images, labels, job, alpha):
    """Return every iterate (restarts x steps + 1), with no image ever dropped."""
    found = []
    for restart in range(attack.restarts):
        iterate = job.threat.from_uniform(images, job.uniform(images, "start", restart))
        found.append(iterate)
        for _ in range(attack.steps):
            _, gradient = input_gradient(lambda x: F.cross_entropy(model(x), labels, reduction="none"), iterate)
            iterate = job.threat.project(images, iterate + alpha * job.threat.steepest(gradient))
            found.append(iterate)
    return found


# --- what it finds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_early", [True, False])
@pytest.mark.parametrize("random_start", [True, False])
@pytest.mark.parametrize(("norm", "dual"), [("Linf", 1), ("L2", 2)])
def test_linear_model_falls_exactly_where_the_dual_norm_says(norm, dual, random_start, stop_early):
    eps, w = 0.02, weight()
    reach = eps * w.norm(p=dual)
    images, labels = images_at(reach * torch.tensor([0.2, 0.98, 1.02, 1.5]), w), zeros(4)
    model, job = frozen(Linear(w), 2), task(ThreatModel(norm, eps), ("a", "b"), stop_early=stop_early)

    adversarial = PGD(random_start=random_start).craft(model, images, labels, job)

    assert model(images).argmax(1).tolist() == [0, 0, 0, 0]
    assert model(adversarial).argmax(1).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("stop_early", [True, False])
@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("eps", [0.01, 0.3, 1.0])
def test_result_lies_in_the_box_and_the_ball(norm, eps, stop_early):
    model, images, threat = frozen(small_net()), pixels(6), ThreatModel(norm, eps)
    images[0], images[1] = 0.0, 1.0

    adversarial = PGD(steps=4, restarts=2).craft(
        model, images, model(images).argmax(1), task(threat, stop_early=stop_early)
    )

    assert adversarial.shape == images.shape
    assert adversarial.dtype == torch.float32
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    assert threat.distance(images, adversarial).max() <= eps + 1e-6


@pytest.mark.parametrize("target", ["untargeted", "least-likely", "random"])
@pytest.mark.parametrize("stop_early", [True, False])
@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_no_radius_gives_back_the_same_bits_in_another_tensor(norm, stop_early, target):
    images, model = pixels(4), frozen(small_net())
    job = task(ThreatModel(norm, 0.0), stop_early=stop_early)
    adversarial = PGD(restarts=2, target=target).craft(model, images, zeros(4), job)
    assert torch.equal(adversarial, images)
    assert adversarial.data_ptr() != images.data_ptr()


@pytest.mark.parametrize("threat", [LINF, L2], ids=str)
def test_many_steps_beat_one(threat):
    model, images, labels = contest()
    job = task(threat)

    def loss(adversarial):
        return F.cross_entropy(model(adversarial), labels, reduction="none").mean()

    one = loss(FGSM().craft(model, images, labels, job))
    many = loss(PGD(random_start=False).craft(model, images, labels, job))
    assert many > one > loss(images)


@pytest.mark.parametrize("threat", [LINF, L2], ids=str)
def test_one_step_from_the_image_is_fgsm(threat):
    model, images, labels = contest(8)
    job = task(threat)
    one_step = PGD(steps=1, random_start=False).craft(model, images, labels, job)
    torch.testing.assert_close(one_step, FGSM().craft(model, images, labels, job), atol=1e-6, rtol=0)


@pytest.mark.parametrize("stop_early", [True, False])
@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_zero_gradient_makes_no_nan(norm, stop_early):
    images, model = pixels(3), frozen(Linear(torch.zeros(DIMENSIONS)), 2)
    job = task(ThreatModel(norm, 0.1), ("a", "b"), stop_early=stop_early)
    still = PGD(random_start=False, restarts=2).craft(model, images, zeros(3), job)
    moved = PGD().craft(model, images, zeros(3), job)
    assert torch.equal(still, images)
    assert moved.isfinite().all()


@pytest.mark.parametrize(
    ("attack", "alpha"),
    [
        (PGD(steps=10, random_start=False), 0.025),
        (PGD(steps=2, random_start=False), 0.075),
        (PGD(steps=10, random_start=False, step_size=0.004), 0.004),
    ],
    ids=["2.5 eps / steps", "at most 0.75 eps", "as given"],
)
def test_step_size(attack, alpha):
    visited = []

    class Spy(Counting):
        def forward(self, images):
            visited.append(images.detach().clone())
            return super().forward(images)

    model = Spy(Linear(weight()).requires_grad_(False), 2)
    images = torch.full((1, *SHAPE), 0.5)
    attack.craft(model, images, zeros(1), task(ThreatModel("Linf", 0.1), ("a", "b")))
    assert (visited[1] - visited[0]).abs().max().item() == pytest.approx(alpha, abs=1e-6)


# --- early stopping -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("restarts", [1, 3])
@pytest.mark.parametrize("threat", [ThreatModel("Linf", 0.01), ThreatModel("L2", 0.05)], ids=str)
def test_early_stopping_loses_the_images_of_which_any_iterate_errs(threat, restarts):
    model, images, labels = contest()
    attack = PGD(steps=6, restarts=restarts)
    job = task(threat, stop_early=True, seed=5)
    iterates = plain_loop(attack, model, images, labels, job, min(2.5 / 6, 0.75) * threat.eps)
    wrong = torch.stack([model(iterate).argmax(1) != labels for iterate in iterates])

    adversarial = attack.craft(model, images, labels, job)

    lost = wrong.any(0)
    assert torch.equal(model(adversarial).argmax(1) != labels, lost)
    assert 0 < lost.sum() < len(images)
    for row in range(len(images)):
        expected = iterates[int(wrong[:, row].float().argmax()) if lost[row] else -1][row]
        torch.testing.assert_close(adversarial[row], expected, atol=1e-6, rtol=0)


def test_early_stopping_costs_the_survivors_of_each_step():
    model, images, labels = contest()
    attack, job = PGD(steps=6, restarts=2), task(ThreatModel("Linf", 0.01), stop_early=True)
    iterates = plain_loop(attack, model, images, labels, job, 2.5 / 6 * 0.01)
    wrong = torch.stack([model(iterate).argmax(1) != labels for iterate in iterates])
    alive = [len(images), *(~(wrong.cumsum(0) > 0)).sum(1).tolist()]  # before each iterate is evaluated
    model.reset()

    attack.craft(model, images, labels, job)

    boundary, last = 6, 13
    assert model.forwards == sum(alive[:last])
    assert model.backwards == sum(alive[:last]) - alive[boundary]


def test_an_image_that_survives_one_restart_costs_k_forwards_and_k_backwards():
    model = frozen(Linear(weight()), 2)
    images = images_at(torch.full((5,), 2.0), weight())
    PGD(steps=9).craft(model, images, zeros(5), task(ThreatModel("Linf", 1e-3), ("a", "b"), stop_early=True))
    assert model.counts == (45, 45)


def test_an_image_that_errs_at_its_start_costs_one_pass_and_stays_there():
    model, images, labels = contest(5)
    attack = PGD(steps=9, random_start=False)
    adversarial = attack.craft(model, images, (labels + 1) % 10, task(LINF, stop_early=True))
    assert model.counts == (5, 5)
    assert torch.equal(adversarial, images)


def test_a_batch_that_falls_at_the_end_of_a_restart_is_not_attacked_again():
    w = weight()
    eps = 0.02
    images = images_at(torch.full((4,), 0.98 * eps * w.norm(p=1)), w)
    model = frozen(Linear(w), 2)
    attack = PGD(steps=2, restarts=3, step_size=0.0199, random_start=False)
    attack.craft(model, images, zeros(4), task(ThreatModel("Linf", eps), ("a", "b"), stop_early=True))
    assert model.counts == (8, 8)  # erred at the iterate after the first step

    model.reset()
    attack = PGD(steps=2, restarts=3, step_size=0.0101, random_start=False)
    adversarial = attack.craft(model, images, zeros(4), task(ThreatModel("Linf", eps), ("a", "b"), stop_early=True))
    assert model.counts == (12, 8)  # erred only at the iterate that the restart boundary evaluates
    assert model(adversarial).argmax(1).tolist() == [1, 1, 1, 1]


# --- crafting for transfer ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attack", "forwards", "backwards"),
    [
        (PGD(steps=7), 7, 7),
        (PGD(steps=7, random_start=False), 7, 7),
        (PGD(steps=7, target="random"), 7, 7),
        (PGD(steps=7, target="least-likely"), 8, 7),
        (PGD(steps=5, restarts=3), 18, 15),
    ],
    ids=["random start", "from the image", "random target", "least likely", "restarts"],
)
def test_without_early_stopping_every_image_costs_every_step(attack, forwards, backwards):
    model, images, labels = contest(6)
    attack.craft(model, images, (labels + 1) % 10, task(LINF))
    assert model.counts == (6 * forwards, 6 * backwards)


def test_without_early_stopping_the_last_iterate_comes_back():
    model, images, labels = contest(8)
    attack, job = PGD(steps=5), task(LINF, seed=2)
    iterates = plain_loop(attack, model, images, labels, job, 2.5 / 5 * LINF.eps)
    assert torch.equal(attack.craft(model, images, labels, job), iterates[-1])


def test_without_early_stopping_each_image_keeps_its_strongest_restart():
    model, images, labels = contest(16)
    attack, job = PGD(steps=3, restarts=4), task(LINF)
    iterates = plain_loop(attack, model, images, labels, job, 0.75 * LINF.eps)
    finals = torch.stack(iterates[3::4])
    losses = torch.stack([F.cross_entropy(model(final), labels, reduction="none") for final in finals])
    best = losses.argmax(0)

    adversarial = attack.craft(model, images, labels, job)

    assert len(best.unique()) > 1
    torch.testing.assert_close(adversarial, finals[best, torch.arange(16)], atol=1e-6, rtol=0)


@pytest.mark.parametrize("stop_early", [True, False])
def test_more_restarts_are_never_weaker(stop_early):
    model, images, labels = contest()
    job = task(ThreatModel("Linf", 0.008), stop_early=stop_early)
    outcomes = []
    for restarts in (1, 2, 5):
        logits = model(PGD(steps=3, restarts=restarts).craft(model, images, labels, job))
        outcomes.append((logits.argmax(1) != labels, F.cross_entropy(logits, labels, reduction="none")))
    for (fewer_lost, lower), (more_lost, higher) in itertools.pairwise(outcomes):
        if stop_early:
            assert (more_lost | ~fewer_lost).all()
        else:
            assert (higher >= lower - 1e-5).all()


# --- targets ------------------------------------------------------------------------------------------------


class Prototypes(nn.Module):
    """Give class k the logit 20 * (brightness of pixel k): every class is one pixel away."""

    def forward(self, images):
        return 20 * images.flatten(1)[:, :10]


def test_targeted_attack_reaches_the_least_likely_class():
    images = torch.full((2, *SHAPE), 0.5)
    images[0, 0, 0, 3], images[0, 0, 1, 2] = 0.6, 0.4  # pixels 3 and 6 of the first channel
    images[1, 0, 0, 0], images[1, 0, 2, 1] = 0.6, 0.4  # pixels 0 and 9
    adversarial = PGD(target="least-likely").craft(
        Classifier(Prototypes(), 10), images, torch.tensor([3, 0]), task(ThreatModel("Linf", 0.2))
    )
    assert Prototypes()(adversarial).argmax(1).tolist() == [6, 9]


def test_least_likely_target_is_never_the_label():
    images = torch.full((1, *SHAPE), 0.5)
    images[0, 0, 0, 0], images[0, 0, 0, 1] = 0.3, 0.4  # the label itself is least likely, class 1 comes next
    model = Classifier(Prototypes(), 10)
    adversarial = PGD(target="least-likely").craft(model, images, zeros(1), task(ThreatModel("Linf", 0.3)))
    assert model(adversarial).argmax(1).tolist() == [1]


def reached(labels, **fields):
    """Return the class that a random-target attack moves each image to."""
    images = torch.full((len(labels), *SHAPE), 0.5)
    model = Classifier(Prototypes(), 10)
    adversarial = PGD(target="random").craft(model, images, labels, task(ThreatModel("Linf", 0.2), **fields))
    return model(adversarial).argmax(1)


def test_random_targets_reach_every_class_but_the_label():
    labels = torch.arange(10).repeat_interleave(200)
    targets = reached(labels)
    assert (targets != labels).all()
    for label in range(10):
        assert set(targets[labels == label].tolist()) == set(range(10)) - {label}


def test_random_targets_depend_on_the_seed_and_the_image_only():
    labels = zeros(40)
    targets = reached(labels, seed=1)
    assert torch.equal(targets, reached(labels, seed=1))
    assert not torch.equal(targets, reached(labels, seed=2))
    assert torch.equal(targets[30:], reached(labels[30:], seed=1, indices=range(30, 40)))


def test_targeted_early_stopping_takes_any_error_not_only_the_target():
    model, images, labels = contest(5)
    attack = PGD(target="least-likely", random_start=False)
    adversarial = attack.craft(model, images, (labels + 1) % 10, task(LINF, stop_early=True))
    assert model.counts == (10, 5)  # one forward to find the targets, one that finds the error
    assert torch.equal(adversarial, images)


# --- repeatability ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_early", [True, False])
def test_one_seed_gives_the_same_bits_and_another_seed_others(stop_early):
    model, images, labels = contest(12)
    attack, threat = PGD(steps=3, restarts=2), ThreatModel("Linf", 0.005)
    first = attack.craft(model, images, labels, task(threat, seed=1, stop_early=stop_early))
    torch.rand(7)  # nothing is drawn from the global generator
    again = attack.craft(model, images, labels, task(threat, seed=1, stop_early=stop_early))
    other = attack.craft(model, images, labels, task(threat, seed=2, stop_early=stop_early))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_restarts_start_at_different_points():
    images = pixels(2)
    attack, job = PGD(), task(LINF)
    assert not torch.equal(attack._start(images, job, 0), attack._start(images, job, 1))


@pytest.mark.parametrize("stop_early", [True, False])
@pytest.mark.parametrize("threat", [ThreatModel("Linf", 0.01), ThreatModel("L2", 0.05)], ids=str)
def test_an_image_is_treated_alike_in_every_batch(threat, stop_early):
    model, images, labels = contest(12)
    attack = PGD(steps=5, restarts=2)
    job = task(threat, stop_early=stop_early, seed=9)
    together = attack.craft(model, images, labels, job)
    parts = []
    for rows in (range(1), range(1, 8), range(8, 12)):
        chosen = list(rows)
        parts.append(attack.craft(model, images[chosen], labels[chosen], job.replace(indices=chosen)))
    torch.testing.assert_close(torch.cat(parts), together, atol=1e-6, rtol=0)


# --- what it leaves alone -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_early", [True, False])
def test_no_parameter_ever_gets_a_gradient_even_if_it_is_trainable(stop_early):
    model = Counting(small_net(), 10).eval()
    images, labels = pixels(3), torch.arange(3)
    before = images.clone()

    adversarial = PGD(steps=3, restarts=2, target="least-likely").craft(
        model, images, labels, task(LINF, stop_early=stop_early)
    )

    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not model.training
    assert not adversarial.requires_grad
    assert torch.equal(images, before)
    assert not images.requires_grad


def test_it_works_under_no_grad():
    model, images, labels = contest(4)
    with torch.no_grad():
        adversarial = PGD(steps=2, random_start=False).craft(model, images, labels, task(LINF))
    assert not torch.equal(adversarial, images)


# --- parity with torchattacks -------------------------------------------------------------------------------


def fitted_net():
    """Return a small net after a few training steps, so that its gradients are not those of a fresh one."""
    network, images = small_net(seed=4), pixels(32, seed=8)
    labels = (images.mean((1, 2, 3)) * 1000).long() % 10
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
    return frozen(network), images, labels


@pytest.mark.parametrize("steps", [1, 10])
def test_same_images_as_torchattacks_linf(steps):
    torchattacks = pytest.importorskip("torchattacks")
    model, images, labels = fitted_net()
    reference = torchattacks.PGD(model, eps=8 / 255, alpha=2 / 255, steps=steps, random_start=False)
    theirs = reference(images, labels)
    attack = PGD(steps=steps, step_size=2 / 255, random_start=False)
    torch.testing.assert_close(attack.craft(model, images, labels, task(LINF)), theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("steps", [1, 10])
def test_same_images_as_torchattacks_l2(steps):
    torchattacks = pytest.importorskip("torchattacks")
    model, images, labels = fitted_net()
    reference = torchattacks.PGDL2(model, eps=0.3, alpha=0.07, steps=steps, random_start=False)
    theirs = reference(images, labels)
    attack = PGD(steps=steps, step_size=0.07, random_start=False)
    torch.testing.assert_close(attack.craft(model, images, labels, task(L2)), theirs, atol=1e-6, rtol=0)


def test_same_images_as_torchattacks_least_likely():
    torchattacks = pytest.importorskip("torchattacks")
    model, images, labels = fitted_net()
    reference = torchattacks.PGD(model, eps=8 / 255, alpha=2 / 255, steps=10, random_start=False)
    reference.set_mode_targeted_least_likely()
    attack = PGD(steps=10, step_size=2 / 255, random_start=False, target="least-likely")
    adversarial = attack.craft(model, images, labels, task(LINF))
    torch.testing.assert_close(adversarial, reference(images, labels), atol=1e-6, rtol=0)


# --- parameters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step_size", "written"), [(8 / 255, "8/255"), (0.1, "0.1"), (2.0, "2")])
def test_a_step_as_large_as_the_ball_is_refused_with_the_reason_and_the_way_out(step_size, written):
    message = (
        f"pgd.step_size {written} is not smaller than eps 8/255: "
        "a step as large as the ball only jumps between its corners "
        "(it left CLIP at 6.57 % where 0.53 % was true). "
        "Give a smaller step_size, or leave it out for 2.5 * eps / steps; "
        "to repeat a paper that did so, add as_published=true."
    )
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        PGD(step_size=step_size).check(LINF)


def test_a_step_that_does_not_move_is_refused():
    with pytest.raises(SpecError, match=r"^pgd\.step_size 0 does not move an image; leave step_size out for 2\.5"):
        PGD(step_size=0.0).check(LINF)


@pytest.mark.parametrize(
    ("attack", "threat"),
    [
        (PGD(), LINF),
        (PGD(steps=2), LINF),
        (PGD(step_size=2 / 255), LINF),
        (PGD(steps=1, step_size=8 / 255), LINF),
        (PGD(step_size=2 / 255), ThreatModel("Linf", 0.0)),
        (PGD(step_size=0.2), L2),
    ],
    ids=["default", "two steps", "2/255", "one whole step", "no radius", "L2"],
)
def test_sensible_steps_pass(attack, threat):
    attack.check(threat)


def test_parameters_are_those_of_the_contract():
    assert PGD().parameters == {
        "steps": 20,
        "step_size": None,
        "restarts": 1,
        "random_start": True,
        "as_published": False,
        "target": "untargeted",
    }
    assert PGD().name == "pgd"
    assert "Madry" in PGD.source
    assert PGD(steps=2).iterative
    assert not PGD(steps=1).iterative


def test_parameters_are_read_from_text_and_refused_out_of_range():
    from robench.contracts.parameters import resolve

    values = resolve("pgd", PGD, {"steps": "7", "step_size": "2/255", "random_start": "no", "target": "random"})
    assert PGD(**values) == PGD(steps=7, step_size=2 / 255, random_start=False, target="random")
    with pytest.raises(SpecError, match=r"^pgd\.steps must be at least 1, not 0 \(gradient steps"):
        resolve("pgd", PGD, {"steps": "0"})
    with pytest.raises(SpecError, match=r"^pgd\.restarts must be at least 1"):
        resolve("pgd", PGD, {"restarts": 0})
    with pytest.raises(SpecError, match=r"^pgd\.target takes untargeted \| least-likely \| random, not 'best'"):
        resolve("pgd", PGD, {"target": "best"})


def test_listing_it_imports_no_torch():
    code = "import robench_builtins.attacks.pgd, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
