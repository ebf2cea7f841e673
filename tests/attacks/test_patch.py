"""Patches on models whose best square is known in closed form, and in the gate."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import Classifier, SpecError, Task, ThreatModel, patch, patch_rs
from robench.contracts.patch_square import side_changed
from robench.runtime.inference import freeze
from robench_builtins.attacks.patch import Patch
from robench_builtins.attacks.patch_rs import PatchRS
from robench_leaderboard.ranking.board import boards

from ..grey import attack, catalog_of, checks, grey

__all__ = ["catalog_of", "grey"]

SHAPE = (2, 6, 8)


class Linear(nn.Module):
    """Answer 1 where weights . x passes a threshold."""

    def __init__(self, weights, threshold=0.0):
        super().__init__()
        self.weights, self.threshold = nn.Parameter(weights), threshold

    def forward(self, images):
        lead = (images * self.weights).flatten(1).sum(1) - self.threshold
        return torch.stack([torch.zeros_like(lead), lead], 1)


def linear(threshold=60.0, seed=0):
    weights = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
    return freeze(Classifier(Linear(weights, threshold), 2), "cpu"), weights


def task(side, count=4, *, early=False, shape=SHAPE):
    threat = ThreatModel("patch", float(side))
    return Task(classes=("no", "yes"), shape=shape, indices=range(count), threat_model=threat, stop_early=early)


def images(count=4, seed=1):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def gain(clean, weights, side):
    """Return by how much the best square raises weights . x, by a search of all squares."""
    pixels = torch.maximum(weights * (0 - clean), weights * (1 - clean)).sum(1)
    tall, wide = min(side, SHAPE[1]), min(side, SHAPE[2])
    return torch.stack(
        [
            pixels[:, top : top + tall, left : left + wide].flatten(1).sum(1)
            for top in range(SHAPE[1] - tall + 1)
            for left in range(SHAPE[2] - wide + 1)
        ]
    ).amax(0)


@pytest.mark.parametrize("side", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("find", [patch, patch_rs])
def test_they_find_the_best_square_of_a_linear_model(find, side):
    model, weights = linear()
    labels, effort = (
        torch.zeros(4, dtype=torch.long),
        {"queries": 1000, "restarts": 2} if find is patch_rs else {"steps": 3},
    )
    found = find(model, images(), labels, task(side), **effort)

    reached = ((found - images()) * weights).flatten(1).sum(1)
    assert bool((side_changed(images(), found) <= side).all())
    if find is patch:  # the first place that it looks at is the best, painted best
        assert reached.tolist() == pytest.approx(gain(images(), weights, side).tolist(), abs=1e-4)
    else:
        assert bool((reached >= 0.7 * gain(images(), weights, side)).all())


@pytest.mark.parametrize("side", [1, 2, 3])
def test_the_robust_accuracy_of_a_linear_map_is_that_of_the_best_square(side):
    clean = images(200)
    _, weights = linear()
    threshold = float((clean * weights).flatten(1).sum(1).median()) + {1: 3.0, 2: 6.0, 3: 11.0}[side]
    model, _ = linear(threshold)
    labels = torch.zeros(200, dtype=torch.long)
    before = (clean * weights).flatten(1).sum(1) - threshold
    falls = before + gain(clean, weights, side) > 0
    assert 0 < int(falls.sum()) < 200

    moved = patch(model, clean, labels, task(side, 200), steps=2)
    assert torch.equal(model(moved).argmax(1) == 1, falls)


@pytest.mark.parametrize("find", [patch, patch_rs])
def test_a_model_that_reads_one_pixel_falls_at_any_side(find):
    weights = torch.zeros(SHAPE)
    weights[1, 4, 5] = 1.0
    model = freeze(Classifier(Linear(weights, 0.5), 2), "cpu")
    clean = images(20) * 0.4
    labels = torch.zeros(20, dtype=torch.long)
    for side in (1, 2, 5):
        moved = find(
            model, clean, labels, task(side, 20, early=True), **({"queries": 1500} if find is patch_rs else {})
        )
        assert bool((model(moved).argmax(1) == 1).all())
        assert bool((moved[:, 1, 4, 5] > 0.5).all())
        assert bool((side_changed(clean, moved) <= side).all())


def conv():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(288, 4))
        net[0].weight.data *= 6
    return freeze(Classifier(net, 4), "cpu")


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(
    ("find", "effort"), [(patch, {"steps": 5, "places": 2, "tries": 5}), (patch_rs, {"queries": 40, "restarts": 2})]
)
def test_neighbours_and_batches_change_nothing_and_no_more_is_asked_than_is_said(find, effort, early):
    model, asked = conv(), []
    labels = model(images(6)).argmax(1)
    handle = model.register_forward_pre_hook(lambda module, given: asked.append(len(given[0])))
    whole = find(model, images(6), labels, task(2, 6, early=early), **effort)
    handle.remove()
    parts = [
        find(model, images(6)[rows], labels[rows], task(2).replace(indices=rows, stop_early=early), **effort)
        for rows in ([0], [1, 2, 3], [4, 5])
    ]

    kind = Patch if find is patch else PatchRS
    most = kind(**effort).passes()[0]
    assert (len(asked) <= most and max(asked) == 6) if early else asked == [6] * most
    assert torch.allclose(torch.cat(parts), whole, atol=1e-6)
    assert torch.equal(find(model, images(6), labels, task(0, 6), **effort), images(6))


def test_climbing_pixels_finds_what_drawing_does_not():
    model = conv()
    many = images(400)
    sure = model(many).topk(2, dim=1).values.diff(dim=1).flatten().argsort()[:60]
    clean, labels = many[sure], model(many[sure]).argmax(1)
    climbed = int((model(patch(model, clean, labels, task(2, 60, early=True))).argmax(1) != labels).sum())
    looked = patch(model, clean, labels, task(2, 60, early=True), steps=1, places=1, tries=1)
    drawn = torch.stack(
        [
            model(task(2, 60).threat.from_uniform(clean, task(2, 60).uniform(clean, "some", draw))).argmax(1) != labels
            for draw in range(50)
        ]
    ).any(0)

    assert climbed > max(int((model(looked).argmax(1) != labels).sum()), int(drawn.sum()))


def test_refusals():
    model, _ = linear()
    labels = torch.zeros(4, dtype=torch.long)
    with pytest.raises(SpecError, match=r"A patch climbs no targeted loss; choose the loss 'dlr' or 'margin'."):
        patch(conv(), images(), labels, task(2), loss="dlr-targeted")
    with pytest.raises(SpecError, match="is defined from 3 classes on"):
        patch(model, images(), labels, task(2), loss="dlr")
    with pytest.raises(SpecError, match=r"patch\.places 50 is more than the 48 places that are looked at; raise"):
        Patch(places=50).check(ThreatModel("patch", 3))
    with pytest.raises(SpecError, match="patch works in patch, not in Linf"):
        Patch().check(ThreatModel("Linf", 0.1))


def survivors(side):
    # Of sixteen pixels side^2 go from level 128 + d to 0: the mean moves by side^2 (128 + d) / 16 levels.
    return 2 * sum(side**2 * (128 + d) / 16 < 0.5 + d for d in range(20))


@pytest.mark.parametrize("name", ["patch", "patch-rs[queries=60]"])
@pytest.mark.parametrize("gate", ["quick", "standard", "thorough"])
def test_cards_are_ranked_on_a_board_of_their_own_and_the_gate_says_what_does_not_apply(grey, name, gate):
    offers = (("attack", Patch), ("attack", PatchRS))
    cards = grey.run(*offers, attack=name, norm="patch", eps="1", gate=gate)
    card = cards[-1]

    assert survivors(1) == 22 <= card.robust.correct <= 24  # d = 8 ends at the threshold itself, up to rounding
    assert card.adversarial.largest == 1.0
    assert card.gate.verdict == "VALID", [one for one in card.gate.checks if one.status in ("suspect", "invalid")]
    assert card.cell.threat.counted == "1 px"
    if gate != "quick":
        slopes = checks(card)["measured slopes <= gradients"].meaning
        assert slopes.startswith("Not applicable: a patch is one square anywhere")
    if name == "patch":
        (board,) = boards([card])
        assert board.rows[0].rank == 1
        assert "patch 1 px," in board.setting.contest


def square_attack(made):
    """Return the attack as one that works with patches."""
    role, kind = made
    return role, type(kind.__name__, (kind,), {"norms": ("patch",), "__doc__": kind.__doc__, "name": kind.name})


def two_squares(model, images, labels, task):
    moved = images.clone()
    if task.threat.eps:
        moved[:, :, 0, 0] = moved[:, :, 3, 3] = 1 - images[:, :, 0, 0].round()
    return moved


def larger(model, images, labels, task):
    moved = images.clone()
    if task.threat.eps:
        side = int(task.threat.eps) + 1
        moved[:, :, :side, :side] = 1 - images[:, :, :side, :side].round()
    return moved


def timid(model, images, labels, task):
    moved = images.clone()
    if task.threat.eps:
        moved[:, :, 0, 0] = (moved[:, :, 0, 0] + 1e-3).clamp(0, 1)
    return moved


def test_two_squares_a_larger_one_and_a_weak_search_are_accused(grey):
    for make in (two_squares, larger):
        name = make.__name__
        (card,) = grey.run(square_attack(attack(name, make, False)), attack=name, norm="patch", eps="1", gate="quick")
        assert checks(card)["box and ball"].status == "invalid"
        assert card.adversarial.excess == (3.0 if make is two_squares else 1.0)
    weak = square_attack(attack("weak", timid, True))
    (weak,) = grey.run(weak, attack="weak", norm="patch", eps="1", gate="thorough")
    assert checks(weak)["stronger attack"].status == "invalid"
    assert "fall to 100 steps of the harness's own patch search (ce-scaled" in checks(weak)["stronger attack"].meaning
    assert "Add --attack patch." in checks(weak)["stronger attack"].meaning
