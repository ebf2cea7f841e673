"""sparse-rs on linear models, whose best pixels are known in closed form, and in the gate."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import Classifier, Task, ThreatModel, sparse_rs
from robench.attacks.sparse_rs import _share
from robench.runtime.inference import freeze
from robench_builtins.attacks.sparse_rs import SparseRS
from robench_leaderboard.ranking.board import boards

from ..grey import attack, catalog_of, checks, grey

__all__ = ["catalog_of", "grey"]


@pytest.fixture
def linear():
    """Return a classifier of 1 x 4 x 8 images whose second logit leads by weights . x - 4, and the weights."""
    layer = nn.Linear(32, 2)
    weights = torch.randn(32, generator=torch.Generator().manual_seed(0))
    layer.weight.data, layer.bias.data = torch.stack([torch.zeros(32), weights]), torch.tensor([0.0, -4.0])
    return freeze(Classifier(nn.Sequential(nn.Flatten(), layer), 2), "cpu"), weights.view(1, 1, 4, 8)


def task(pixels, count=4, *, early=False):
    threat = ThreatModel("L0", float(pixels))
    return Task(
        classes=("no", "yes"), shape=(1, 4, 8), indices=range(count), threat_model=threat, stop_early=early
    )  # fmt: skip


def images(count=4):
    return torch.rand(count, 1, 4, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("pixels", [1, 3, 6])
def test_it_finds_the_best_pixels_of_a_linear_model(linear, pixels):
    # Of one channel: with several, a pixel of nearly the best colours keeps its place, here as in the official code.
    model, weights = linear
    labels = torch.zeros(4, dtype=torch.long)
    found = sparse_rs(model, images(), labels, task(pixels), queries=3000)

    best = task(pixels).threat.one_step(images(), weights.expand(4, -1, -1, -1))
    reached, most = (float((weights * moved).sum()) for moved in (found, best))
    assert reached == pytest.approx(most, abs=1e-4)
    assert bool((task(pixels).threat.distance(images(), found) <= pixels).all())


def test_neighbours_and_batches_change_nothing_and_passes_are_counted(linear):
    model, _ = linear
    labels, asked = torch.zeros(4, dtype=torch.long), []
    handle = model.register_forward_pre_hook(lambda module, given: asked.append(len(given[0])))
    whole = sparse_rs(model, images(), labels, task(2), queries=30)
    handle.remove()
    parts = [
        sparse_rs(model, images()[rows], labels[rows], task(2).replace(indices=rows), queries=30)
        for rows in ([0], [1, 2, 3])
    ]

    assert asked == [4] * 30
    assert torch.equal(torch.cat(parts), whole)


def test_an_image_leaves_at_its_first_error_and_every_pixel_may_change(linear):
    model, _ = linear
    labels = model(images()).argmax(1)
    early = sparse_rs(model, images(), labels, task(32, early=True), queries=20)

    assert torch.equal(sparse_rs(model, images(), labels, task(0), queries=20), images())
    assert bool((early != images()).any())


def test_the_schedule_is_the_published_one():
    at = (1, 50, 51, 201, 501, 1001, 2001, 4001, 6001, 8001)
    parts = [round(0.3 / _share(query, 10_000, 0.3, rescale=True)) for query in at]
    assert parts == [2, 2, 4, 5, 6, 8, 10, 12, 15, 20]
    assert _share(51, 5000, 0.3, rescale=True) == _share(102, 10_000, 0.3, rescale=True)
    assert _share(51, 5000, 0.3, rescale=False) == _share(51, 10_000, 0.3, rescale=True)


def test_its_cards_are_ranked_and_the_gate_says_what_does_not_apply(grey):
    # Of sixteen pixels two go from level 128 + d to 0, or from 127 - d to 255: the mean moves by 2 (128 + d) / 16.
    (card,) = grey.run(("attack", SparseRS), attack="sparse-rs[queries=100]", norm="L0", eps="2", gate="standard")

    assert card.robust.correct == 40 - 2 * sum(2 * (128 + d) / 16 > 0.5 + d for d in range(20)) == 4
    assert card.adversarial.largest == 2.0
    assert card.gate.verdict == "VALID", [one for one in card.gate.checks if one.status in ("suspect", "invalid")]
    assert checks(card)["step size"].meaning.startswith("Not applicable: L0 counts pixels")
    assert checks(card)["stronger attack"].status == "pass"
    (board,) = boards([card])
    assert board.rows[0].headline.correct == card.robust.correct
    assert board.rows[0].rank == 1
    assert "L0 2 px," in board.setting.contest


def test_an_attack_that_leaves_the_ball_or_is_too_weak_is_accused(grey):
    def everything(model, images, labels, task):
        return 1 - images

    def timid(model, images, labels, task):
        moved = images.clone()
        moved[:, :, 0, 0] += 1e-3
        return moved.clamp(0, 1) if task.threat.eps else images

    (wide,) = grey.run(sparse(attack("wide", everything, False)), attack="wide", norm="L0", eps="2", gate="quick")
    assert checks(wide)["box and ball"].status == "invalid"
    assert wide.adversarial.largest == 2.0
    (weak,) = grey.run(sparse(attack("weak", timid, False)), attack="weak", norm="L0", eps="2", gate="standard")
    assert weak.gate.verdict != "VALID"


def sparse(made):
    """Return the attack as one that works in L0."""
    role, kind = made
    return role, type(kind.__name__, (kind,), {"norms": ("L0",), "__doc__": kind.__doc__, "name": kind.name})
