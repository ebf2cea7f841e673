"""What the harness's attacks ask of a GPU besides the model: how often they wait for it."""

from __future__ import annotations

import copy

import pytest
import torch

from robench.attacks.apgd import apgd
from robench.attacks.square import square
from robench.attacks.tile_search import tile_queries, tiles
from robench.testing import pretended_cuda
from robench.testing.fixtures import USUAL, network, pictures

N, STEPS, QUERIES = 6, 8, 12


def counted(search, early):
    """Return what a search on the pretended GPU counts, and whether it found what it finds on a CPU."""
    model, images = network(USUAL), pictures(USUAL, N)
    labels = model(images).argmax(1)
    task = USUAL.attack("Linf", N, eps=1 / 255, early=early)
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
