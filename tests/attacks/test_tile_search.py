"""Tile search on models whose slopes are known tile by tile, and what it costs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench.attacks.tile_search import TURNED, tile_queries, tiles
from robench.contracts.classifier import Classifier

SHAPE = (3, 8, 8)


def classifier(network):
    return Classifier(network, 2).eval()


class Tiled(nn.Module):
    """Score class 0 by a weight for each of 4 x 4 tiles, the same in all channels, and hide the gradient if asked to.

    Around grey 0.5 the score is ``lead + sum_t w_t * (mean of tile t - 0.5)``; class 1 has the negative.
    """

    def __init__(self, weights, lead, hidden=False):
        super().__init__()
        self.weights, self.lead, self.hidden, self.forwards = weights, lead, hidden, 0

    def forward(self, images):
        self.forwards += len(images)
        means = nn.functional.avg_pool2d(images - 0.5, 2).mean(1).flatten(1)
        score = self.lead + means @ self.weights
        score = score.detach() + 0 * images.sum() if self.hidden else score
        return torch.stack([score, -score], 1)


def weights():
    found = torch.randn(16, generator=torch.Generator().manual_seed(7))
    found[3] = 0
    return found


def grey(count=1):
    return torch.full((count, *SHAPE), 0.5), torch.zeros(count, dtype=torch.long)


@pytest.mark.parametrize("hidden", [False, True], ids=["gradients", "no gradients"])
@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.05), ("L2", 0.3)])
@pytest.mark.parametrize(("share", "falls"), [(0.98, True), (1.02, False)])
def test_one_round_reaches_what_flat_tiles_can_on_a_linear_score(lab, norm, eps, share, falls, hidden):
    # A tile has 12 values and the score takes their mean: in L2 that is a weight of w / 12 on each.
    reach = eps * (weights().abs().sum() if norm == "Linf" else (weights() / 12).norm() * 12**0.5)
    model, (images, labels) = classifier(Tiled(weights(), share * reach, hidden)), grey()

    moved = tiles(model, images, labels, lab.task(norm, eps, 2), side=4)

    assert (model(moved).argmax(1) != labels).tolist() == [falls]


def test_all_tiles_go_to_the_edge_against_their_weights(lab):
    images, labels = grey()
    moved = tiles(classifier(Tiled(weights(), 9.0)), images, labels, lab.task("Linf", 0.1, 2), side=4) - images

    torch.testing.assert_close(moved.abs(), torch.full_like(moved, 0.1))
    means = nn.functional.avg_pool2d(moved, 2).mean(1).flatten()
    known = weights() != 0
    assert torch.equal(means[known].sign(), -weights()[known].sign())


class Product(nn.Module):
    """Err only where two corners of the image move apart: neither alone makes a difference."""

    def forward(self, images):
        one, other = images[..., :4, :4].mean((1, 2, 3)) - 0.5, images[..., 4:, 4:].mean((1, 2, 3)) - 0.5
        score = 0.005 + one * other
        return torch.stack([score, -score], 1)


def test_a_second_round_turns_what_the_first_could_not_tell(lab):
    model, (images, labels), task = classifier(Product()), grey(), lab.task("Linf", 0.1, 2)

    once, twice = (tiles(model, images, labels, task, rounds=rounds, side=2) for rounds in (1, 2))

    assert model(once).argmax(1).tolist() == [0]
    assert model(twice).argmax(1).tolist() == [1]


@pytest.mark.parametrize("rounds", [1, 2, 3])
@pytest.mark.parametrize("stop_early", [False, True])
def test_it_costs_what_it_says_while_nothing_falls(lab, rounds, stop_early):
    network, (images, labels) = Tiled(weights(), 9.0), grey(3)

    tiles(
        classifier(network), images, labels, lab.task("Linf", 0.1, 2, stop_early=stop_early), rounds=rounds, side=4
    )  # fmt: skip

    assert network.forwards == 3 * tile_queries(rounds, 4)
    assert [tile_queries(rounds, 4) for rounds in (0, 1, 2)] == [0, 18, 18 + 17 + len(TURNED)]


def test_an_image_is_left_alone_after_the_round_in_which_it_fell(lab):
    reach = float(0.1 * weights().abs().sum())
    images, labels = grey(2)
    images[1] += 0.01  # the sum of the weights is not 0: one of the two is the harder
    network = Tiled(weights(), 0.0)
    with torch.no_grad():
        scores = torch.stack([network(images)[:, 0]])[0]
    network.lead, network.forwards = float(reach - scores.mean()), 0

    tiles(classifier(network), images, labels, lab.task("Linf", 0.1, 2, stop_early=True), rounds=2, side=4)

    assert network.forwards == 2 * tile_queries(1, 4) + (tile_queries(2, 4) - tile_queries(1, 4))


def test_there_are_no_more_tiles_than_pixels(lab):
    network, (images, labels) = Tiled(weights(), 9.0), grey()

    tiles(classifier(network), images, labels, lab.task("Linf", 0.1, 2), side=50)

    assert network.forwards == tile_queries(1, 8)


def test_a_ball_without_radius_has_one_point(lab):
    network, (images, labels) = Tiled(weights(), 9.0), grey()

    assert torch.equal(tiles(classifier(network), images, labels, lab.task("Linf", 0.0, 2)), images)
    assert network.forwards == 0
