"""What robench's PGD costs over the passes it cannot avoid, and beside other libraries' PGD.

    OMP_WAIT_POLICY=passive python -m pytest benchmarks/test_attack_speed.py -s

No time is asserted: the ratios to the floor are printed and go into pytest-benchmark's ``extra_info``.
The libraries attack the model as they find it, with trainable parameters, as their users would.
"""

from __future__ import annotations

import copy
from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robench import Classifier, Task, ThreatModel, input_gradient
from robench_builtins.attacks.pgd import PGD

from .interleave import interleave, ratios, report, timed_rows
from .resnet20 import SHAPE, resnet20

ROUNDS = 5
IMAGES = BATCH = 128
STEPS, EPS, ALPHA = 7, 8 / 255, 2 / 255


class Counting(Classifier):
    """Count the images that pass forward."""

    forwards = 0

    def forward(self, images):
        self.forwards += len(images)
        return super().forward(images)


@pytest.fixture(scope="module")
def as_loaded():
    return resnet20()


@pytest.fixture(scope="module")
def victim(as_loaded):
    return Counting(copy.deepcopy(as_loaded).requires_grad_(False), 10).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(IMAGES, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def labels(victim, images):
    with torch.no_grad():
        return victim(images).argmax(1)


def task(eps=EPS, stop_early=False):
    threat = ThreatModel("Linf", eps)
    return Task(classes=tuple("abcdefghij"), shape=SHAPE, threat_model=threat, stop_early=stop_early)


def in_batches(attack, images, labels):
    """Return a call that runs ``attack`` over all images."""
    pairs = list(zip(images.split(BATCH), labels.split(BATCH), strict=True))
    return lambda: [attack(*pair) for pair in pairs]


def robench_pgd(victim):
    attack = PGD(steps=STEPS, step_size=ALPHA)
    return lambda images, labels: attack.craft(victim, images, labels, task())


def passes_only(victim):
    """Return what no PGD can avoid: ``STEPS`` forwards and backwards to the input."""

    def run(images, labels):
        for _ in range(STEPS):
            input_gradient(lambda x: F.cross_entropy(victim(x), labels, reduction="none"), images)

    return run


def bare_loop(victim):
    """Return PGD as one would write it down."""

    def run(images, labels):
        x = (images + torch.empty_like(images).uniform_(-EPS, EPS)).clamp(0, 1)
        for _ in range(STEPS):
            x.requires_grad_(True)
            (gradient,) = torch.autograd.grad(F.cross_entropy(victim(x), labels, reduction="sum"), x)
            x = (images + (x.detach() + ALPHA * gradient.sign() - images).clamp(-EPS, EPS)).clamp(0, 1)
        return x

    return run


def torchattacks_pgd(model):
    import torchattacks

    return torchattacks.PGD(model, eps=EPS, alpha=ALPHA, steps=STEPS)


def foolbox_pgd(model):
    import foolbox

    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfPGD(abs_stepsize=ALPHA, steps=STEPS, random_start=True)
    return lambda images, labels: attack(wrapped, images, labels, epsilons=EPS)


def art_pgd(model):
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    wrapped = PyTorchClassifier(model, nn.CrossEntropyLoss(), SHAPE, 10, clip_values=(0.0, 1.0), device_type="cpu")
    attack = ProjectedGradientDescent(
        wrapped, eps=EPS, eps_step=ALPHA, max_iter=STEPS, num_random_init=1, batch_size=BATCH, verbose=False
    )
    return lambda images, labels: attack.generate(images.numpy(), labels.numpy())


PEERS = {"torchattacks": torchattacks_pgd, "foolbox": foolbox_pgd, "art": art_pgd}


@pytest.mark.filterwarnings("default")  # the peers are not ours to mend
def test_pgd_beside_the_peers_that_are_installed(benchmark, as_loaded, victim, images, labels):
    attacks = {"floor": passes_only(victim), "bare loop": bare_loop(victim), "robench": robench_pgd(victim)}
    for name, peer in PEERS.items():
        if find_spec(name) is not None:
            attacks[name] = peer(copy.deepcopy(as_loaded))
    contestants = {name: in_batches(attack, images, labels) for name, attack in attacks.items()}
    seconds = benchmark.pedantic(interleave, (contestants, ROUNDS), rounds=1, iterations=1)
    table = ratios(seconds, "floor")
    benchmark.extra_info.update(ratio_to_floor=table, seconds=seconds, images=IMAGES, steps=STEPS)
    report(
        f"PGD-{STEPS}, {IMAGES} images, batch {BATCH}, median of {ROUNDS} rounds",
        [("", "ratio to floor", "seconds"), *timed_rows(seconds, table)],
    )


# PGD-50 at the small radius is left out: most images stand there, so it says no more than PGD-20, and takes minutes.
@pytest.mark.parametrize(("radius", "steps"), [(8, 10), (8, 20), (8, 50), (0.5, 10), (0.5, 20)])
def test_early_exit(benchmark, radius, steps, victim, images, labels):
    images, labels = images[:32], labels[:32]
    counts, lost = {}, {}

    def contestant(name, stop_early):
        def run():
            victim.forwards = 0
            adversarial = PGD(steps=steps).craft(victim, images, labels, task(radius / 255, stop_early))
            counts[name] = victim.forwards
            with torch.no_grad():
                lost[name] = victim(adversarial).argmax(1) != labels

        return run

    contestants = {"all steps": contestant("all steps", False), "early exit": contestant("early exit", True)}
    seconds = benchmark.pedantic(interleave, (contestants, ROUNDS, False), rounds=1, iterations=1)
    robust = {name: 1 - float(mask.float().mean()) for name, mask in lost.items()}
    table = ratios(seconds, "all steps")
    benchmark.extra_info.update(ratio_to_all_steps=table, forwards=counts, robust=robust, seconds=seconds)

    assert counts["all steps"] == steps * len(images)
    assert counts["early exit"] <= counts["all steps"]
    assert (lost["early exit"] | ~lost["all steps"]).all()  # any iterate is never weaker than the last
    report(
        f"PGD-{steps}, eps {radius}/255, {len(images)} images, median of {ROUNDS} rounds",
        [("", "fwd+bwd images", "robust", "ratio of time")]
        + [(name, counts[name], f"{robust[name]:.3f}", f"{ratio:.2f}") for name, ratio in table.items()],
    )
