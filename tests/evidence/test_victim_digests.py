"""A victim is hashed once; what was made from it has the digests that hashing all of it gives."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from robench.evidence import victim_digests
from robench.evidence.tensor_digests import tensor_digests, weights_digest
from robench.evidence.victim_digests import digests_of


class Renamed(nn.Module):
    """Hold a victim under another name, a tensor of its own, and one derived."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.own = inner, nn.Parameter(torch.full((4, 4), 3.0))
        self.register_buffer("table", torch.arange(5), persistent=False)


@pytest.fixture
def victim():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4000))
    module.register_buffer("derived", torch.ones(2), persistent=False)
    return module.requires_grad_(False)


@pytest.fixture
def hashed(monkeypatch):
    """Return the bytes of each tensor that was hashed."""
    sizes, real = [], victim_digests.digest
    monkeypatch.setattr(victim_digests, "digest", lambda tensor: sizes.append(tensor.nbytes) or real(tensor))
    return sizes


def test_digests_are_those_of_hashing_everything(victim):
    found = digests_of(victim)
    assert found.by_name == tensor_digests(victim)
    assert found.victim == weights_digest(victim)
    model = Renamed(copy.deepcopy(victim))
    with torch.no_grad():
        model.inner[0].weight[1, 2] += 1e-6
    assert found.of(model, victim) == tensor_digests(model)


def test_a_victim_is_hashed_once_and_of_a_model_only_what_is_its_own(victim, hashed):
    whole = sum(tensor.nbytes for tensor in [*victim.parameters(), *victim.buffers()])
    for _ in range(7):
        found = digests_of(victim)
    assert sum(hashed) == whole
    hashed.clear()
    model = Renamed(copy.deepcopy(victim))
    with torch.no_grad():
        model.inner[0].bias += 1
    found.of(model, victim)
    assert sorted(hashed) == [4 * 4, 5 * 8, 16 * 4]  # the bias, the table, its own


@pytest.mark.parametrize(
    "write",
    [
        lambda weight: weight.add_(1),
        lambda weight: weight.data.mul_(2),
        lambda weight: weight.data.copy_(weight.flip(0)),
        lambda weight: setattr(weight, "data", weight.data + 1),
    ],
)
def test_a_victim_that_was_written_to_is_hashed_anew(victim, write):
    digests_of(victim)
    write(victim[2].weight)
    assert digests_of(victim).by_name == tensor_digests(victim)


@pytest.mark.parametrize("bits", [-0.0, float("nan")])
def test_bits_are_compared_and_not_numbers(victim, bits):
    with torch.no_grad():
        victim[2].bias.zero_()
        victim[2].bias[3000] = bits
    model = copy.deepcopy(victim)
    model[2].bias[3000] = 0.0
    found = digests_of(victim)
    assert found.of(model, victim) == tensor_digests(model)
    assert found.of(copy.deepcopy(victim), victim) == found.by_name
