"""A copy holds memory of its own only for what is written to, and no write reaches what it was made of."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from robench.contracts import shared_weights
from robench.contracts.module_copy import copy_module
from robench.contracts.shared_weights import address, octets, own_memory, same_memory, shared
from robench.evidence.tensor_digests import digest, tensor_digests


@pytest.fixture
def victim():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    return network.eval().requires_grad_(False)


def own(made, victim):
    """Return the names of a copy's tensors whose bytes are its own."""
    pairs = zip([*made.named_parameters(), *made.named_buffers()], [*victim.parameters(), *victim.buffers()],
                strict=True)  # fmt: skip
    return {name for (name, tensor), other in pairs if not same_memory(tensor, other)}


BUFFERS = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}


def asked(made):
    """Ask a model and differentiate it, as an attack and a fit's frozen part do."""
    images = torch.linspace(0, 1, 72).view(2, 1, 6, 6).requires_grad_()
    made(images).sum().backward()
    return images.grad


def in_place(weight):
    with torch.no_grad():
        weight.add_(1)


def by_numpy(weight):
    weight.numpy()[...] = 3


def by_old_view(weight):
    weight.data.view(-1)[0] = 9


def by_pointer(weight):
    np.frombuffer(memoryview(weight.data.numpy()).cast("B"), dtype=np.float32)[:] = 4


def by_optimizer(make):
    def write(weight):
        weight.requires_grad_()
        optimizer = make([weight])
        weight.sum().backward()
        optimizer.step()
        weight.requires_grad_(False)
        weight.grad = None

    return write


WRITES = {
    "in place": in_place,
    "data": lambda weight: weight.data.mul_(2),
    "a view": by_old_view,
    "numpy": by_numpy,
    "bytes": by_pointer,
    "dlpack": lambda weight: np.copyto(np.from_dlpack(weight.data), 5),
    "storage": lambda weight: weight.untyped_storage().fill_(7),
    "set_": lambda weight: torch.empty(0).set_(weight.untyped_storage(), 0, (4,)).fill_(6),
    "out": lambda weight: torch.mul(weight, 2, out=weight),
    "initialised": nn.init.zeros_,
    "sgd": by_optimizer(lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9)),
    "fused sgd": by_optimizer(lambda weights: torch.optim.SGD(weights, lr=0.1, fused=True)),
    "adamw": by_optimizer(lambda weights: torch.optim.AdamW(weights, lr=0.1)),
    "fused adamw": by_optimizer(lambda weights: torch.optim.AdamW(weights, lr=0.1, fused=True)),
    "foreach": by_optimizer(lambda weights: torch.optim.Adam(weights, lr=0.1, foreach=True)),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_is_written_to_one_copy_reaches_neither_the_victim_nor_another_copy(victim, write):
    before, answers = tensor_digests(victim), asked(victim)
    one, other = copy_module(victim), copy_module(victim)
    second = copy_module(one)
    write(one[4].weight)
    assert own(one, victim) == {"4.weight", *BUFFERS}
    assert tensor_digests(one)["4.weight"] != before["4.weight"]
    for untouched in (victim, other, second):
        assert tensor_digests(untouched) == before
        assert torch.equal(asked(untouched), answers)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_is_written_to_the_victim_reaches_no_copy(victim, write):
    made, before = copy_module(victim), tensor_digests(victim)
    write(victim[0].weight)
    assert tensor_digests(made) == before
    assert tensor_digests(victim)["0.weight"] != before["0.weight"]


def test_asking_hashing_and_freezing_copy_nothing(victim):
    made = copy_module(victim)
    asked(made)
    assert [digest(weight) for weight in made.parameters()] == [digest(weight) for weight in victim.parameters()]
    made.to("cpu").eval().requires_grad_(False)
    assert torch.isfinite(made[4].weight).all()
    assert own(made, victim) == BUFFERS


def test_a_copy_that_trains_gathers_statistics_of_its_own(victim):
    made, before = copy_module(victim).train(), tensor_digests(victim)
    made(torch.rand(4, 1, 6, 6))
    assert tensor_digests(victim) == before
    assert not torch.equal(made[1].running_mean, victim[1].running_mean)


def test_a_large_weight_is_hashed_as_it_was_in_one_piece(monkeypatch, victim):
    weight = victim[4].weight
    whole = digest(weight)
    made = copy_module(victim)
    monkeypatch.setattr(shared_weights, "PIECE", 100)
    assert len(list(octets(made[4].weight))) == 8  # of 768 bytes
    assert digest(made[4].weight) == whole
    assert address(made[4].weight) == address(weight)


def test_a_whole_copy_shares_nothing(victim):
    made = copy_module(victim, whole=True)
    assert own(made, victim) == {name for name, _ in [*victim.named_parameters(), *victim.named_buffers()]}
    assert tensor_digests(made) == tensor_digests(victim)


def test_gradients_are_on_where_they_were_and_tied_weights_stay_tied(victim):
    victim.again = victim[4]
    victim[4].bias.requires_grad_()
    made = copy_module(victim)
    assert made.again is made[4]
    assert [weight.requires_grad for weight in made.parameters()] == [False] * 5 + [True]
    assert made[4].bias.is_leaf


@pytest.mark.parametrize("odd", ["numpy", "part", "shared", "computed"])
def test_memory_that_is_not_torchs_own_or_not_a_parameters_is_copied(odd):
    layer = nn.Linear(3, 3, bias=False)
    if odd == "numpy":
        layer.weight = nn.Parameter(torch.from_numpy(np.ones((3, 3), dtype=np.float32)))
    elif odd == "part":
        layer.weight = nn.Parameter(torch.ones(4, 3)[1:])
    elif odd == "shared":
        layer.share_memory()
    else:
        layer = weight_norm(layer)
    made = copy_module(layer.requires_grad_(False))
    for weight, other in zip(made.parameters(), layer.parameters(), strict=True):
        assert same_memory(weight, other) == (odd == "computed")
        weight.data.add_(1)
        assert not torch.equal(weight, other)
    if odd != "computed":
        own_memory(layer)  # once, as a victim is loaded
        made = copy_module(layer)
        assert same_memory(made.weight, layer.weight)
        assert torch.equal(made.weight, layer.weight)


def test_where_torch_does_not_share_so_copies_are_whole(monkeypatch, victim):
    monkeypatch.setattr(shared_weights, "_holds", lambda: False)
    made = copy_module(victim)
    assert shared(victim[4].weight) is None
    assert made[4].weight.data_ptr() != victim[4].weight.data_ptr()
    assert tensor_digests(made) == tensor_digests(victim)


@pytest.mark.parametrize("name", ["_equal", "_address", "_is_shared"])
@pytest.mark.parametrize("told", [AttributeError("no such name"), None])
def test_a_torch_that_does_otherwise_is_found_out(monkeypatch, name, told):
    def other(tensor):
        if told is not None:
            raise told
        return {"_equal": tensor, "_address": 0, "_is_shared": False}[name]

    monkeypatch.setattr(shared_weights, name, other)
    assert not shared_weights._holds.__wrapped__()


def test_it_holds_here():
    assert shared_weights._holds.__wrapped__()


def test_a_deep_copy_of_a_shared_weight_is_its_own(victim):
    made = copy_module(victim)
    assert not same_memory(copy.deepcopy(made)[4].weight, victim[4].weight)
