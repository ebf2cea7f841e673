"""What the harness's attacks ask of a GPU besides the model: how often they wait for it."""

from __future__ import annotations

import copy

import pytest
import torch

from robench import ThreatModel
from robench.attacks.apgd import apgd
from robench.attacks.square import square
from robench.attacks.tile_search import tile_queries, tiles
from robench.testing import pretended_cuda
from robench.testing.fixtures import USUAL, network, pictures
from robench_builtins.attacks.cw import CW
from robench_builtins.attacks.mi_fgsm import MIFGSM

N, STEPS, QUERIES = 6, 8, 12
LINF = ThreatModel("Linf", 1 / 255)


def counted(search, early, threat=LINF):
    """Return what a search on the pretended GPU counts, and whether it found what it finds on a CPU."""
    model, images = network(USUAL), pictures(USUAL, N)
    labels = model(images).argmax(1)
    task = USUAL.attack("Linf", N, early=early).replace(threat_model=threat)
    expected = search(model, images, labels, task)
    with pretended_cuda() as counts:
        moved = copy.deepcopy(model).to("cuda")
        given = images.cuda(), labels.cuda()
        counts.clear()
        found = search(moved, *given, task.replace(device="cuda"))
        waits = counts.waits.copy()
        assert torch.equal(found.cpu(), expected)
    return waits


@pytest.mark.parametrize(
    ("search", "most"),
    [
        # Once a step: whether the gradient is finite.
        (lambda *given: apgd(*given, steps=STEPS), STEPS + 2),
        (lambda *given: square(*given, queries=QUERIES), 2),
        (lambda *given: tiles(*given, rounds=1), 2),
    ],
    ids=["apgd", "square", "tiles"],
)
def test_a_search_that_takes_every_step_hardly_waits(search, most):
    assert tile_queries(1) > 60
    waits = counted(search, early=False)
    assert sum(waits.values()) <= most, waits
    assert not [name for name in waits if "mask" in name]


def test_images_that_leave_are_waited_for_once_a_step():
    waits = counted(lambda *given: apgd(*given, steps=STEPS), early=True)
    # The gradient, whether any has fallen, and which are left.
    assert sum(waits.values()) <= 3 * (STEPS + 1)
    assert not [name for name in waits if "mask" in name]


@pytest.mark.parametrize(
    ("attack", "threat", "most"),
    [
        # Whether any has fallen; of a step in which one has, which are left, which have gone, and their numbers.
        (MIFGSM(steps=STEPS), LINF, 4),
        # Which are nearer than before, whether any has fallen, and which are left.
        (CW(steps=STEPS, searches=1, constant=10.0, learning_rate=0.05), ThreatModel("L2", 0.2), 3),
    ],
    ids=["mi-fgsm", "cw"],
)
def test_images_of_a_builtin_attack_that_leave_are_waited_for_a_few_times_a_step(attack, threat, most):
    waits = counted(attack.craft, True, threat)
    assert sum(waits.values()) <= most * STEPS + 2, waits
    assert not [name for name in waits if "mask" in name], waits
