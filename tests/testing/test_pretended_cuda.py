"""The pretended GPU: device mistakes fail on it as on a real one, its bits are a CPU's, its work is counted."""

from __future__ import annotations

import copy
import io
from contextlib import nullcontext
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

from robench import Attack, Defense, input_gradient
from robench.contracts.task import Task
from robench.testing import conformance, pretended_cuda
from robench.testing.conformance import attempt
from robench.testing.fixtures import USUAL, network, pictures, zero_shot
from robench_builtins.attacks.pgd import PGD
from robench_builtins.attacks.shared.projected_gradient import Aims

X = pictures(USUAL, 6)
Y = network(USUAL)(X).argmax(1)


def gradient(model, images, labels):
    return input_gradient(lambda x: cross_entropy(model(x), labels, reduction="none"), images)[1]


def two_steps():
    """Attack six images on the pretended GPU."""
    task = USUAL.attack("Linf", 6).replace(device="cuda")
    return PGD(steps=2).craft(copy.deepcopy(network(USUAL)).to("cuda"), X.to("cuda"), Y.to("cuda"), task)


def test_an_attack_without_mistakes_runs_with_the_cpus_bits():
    expected = PGD(steps=2).craft(network(USUAL), X, Y, USUAL.attack("Linf", 6))
    with pretended_cuda() as counts:
        found = two_steps()
        assert (found.device, found.is_cuda) == (torch.device("cuda", 0), True)
        assert torch.equal(found.cpu(), expected)
    assert counts.launches["convolution"] == 2
    assert counts.launches["convolution_backward"] == 2


uniform = Task.uniform
MIXED = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
SEEDED = {
    "noise left on the CPU": (
        mock.patch.object(Task, "uniform", lambda self, images, *words: uniform(self, images.cpu(), *words)),
        MIXED,
    ),
    "labels on the CPU": (
        mock.patch.object(PGD, "_aims", lambda self, m, images, labels, task: Aims(labels.cpu(), torch.ones(6))),
        MIXED,
    ),
    "numpy in an attack": (
        mock.patch.object(PGD, "_start", lambda self, images, task, restart: torch.from_numpy(images.numpy())),
        "can't convert cuda:0 device type tensor to numpy",
    ),
    "a CPU's generator": (
        mock.patch.object(
            PGD,
            "_start",
            lambda self, images, task, restart: torch.rand(
                images.shape, device=images.device, generator=task.generator("start")
            ),
        ),
        "Expected a 'cuda' device type for generator but found 'cpu'",
    ),
    "arange without a device": (
        mock.patch.object(
            PGD, "_start", lambda self, images, task, restart: images * torch.arange(6).view(-1, 1, 1, 1)
        ),
        MIXED,
    ),
}


@pytest.mark.parametrize("name", SEEDED)
def test_a_seeded_mistake_is_caught(name):
    patch, said = SEEDED[name]
    with pretended_cuda(), patch, pytest.raises((RuntimeError, TypeError)) as raised:
        two_steps()
    assert said in str(raised.value)
    with patch if name not in ("numpy in an attack", "a CPU's generator") else nullcontext():
        PGD(steps=1).craft(network(USUAL), X, Y, USUAL.attack("Linf", 6))  # on a CPU nothing is wrong with it


FORBIDDEN = {
    "a CPU tensor added": lambda x: x + X,
    "another GPU": lambda x: x + X.to("cuda:1"),
    "a CPU tensor read at places on the GPU": lambda x: X[torch.arange(2).cuda()],
    "a CPU tensor written into": lambda x: X.clone().index_put_((torch.tensor([0]),), x[:1]),
    "a scalar where none is taken": lambda x: torch.cat([x.flatten(), torch.tensor([1.0])]),
    "numpy": lambda x: x.numpy(),
    "numpy of it": lambda x: np.asarray(x),
    "a model left behind": lambda x: network(USUAL)(x),
    "a buffer left behind": lambda x: (x - torch.zeros(1, 3, 1, 1)) / 2,
    "a third GPU": lambda x: torch.cuda.set_device(2),
}
ALLOWED = {
    "a number": lambda x: x * 2 + torch.tensor(3.0),
    "places on the CPU": lambda x: x[torch.tensor([0, 1])],
    "a list of places": lambda x: x[[0, 2]] + x[:, [0]][:2],
    "a mask": lambda x: x[torch.arange(6).cuda() > 2],
    "written to the CPU": lambda x: torch.empty(6, 3, 32, 32).copy_(x),
    "a slice of the CPU's": lambda x: torch.empty(6, 3, 32, 32).__setitem__(slice(0, 3), x[:3]),
    "made there": lambda x: x + torch.zeros(6, 1, 1, 1, device="cuda") + x.new_tensor([1.0]),
    "made beside": lambda x: torch.zeros_like(x) + torch.tensor([1.0], device=x.device),
    "values": lambda x: (float(x.sum()), x.tolist(), bool((x > 0).any())),
    "written in place": lambda x: x.clone().clamp_(0, 0.5).__setitem__([0, 1], 0.25),
    "saved": lambda x: torch.save({"x": x}, io.BytesIO()),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_fails_on_a_gpu_fails(what):
    with pretended_cuda(devices=2):
        moved = X.cuda()
        with pytest.raises((RuntimeError, TypeError)):
            FORBIDDEN[what](moved)


@pytest.mark.parametrize("what", ALLOWED)
def test_what_works_on_a_gpu_works(what):
    with pretended_cuda():
        ALLOWED[what](X.cuda())


def test_what_is_saved_comes_back_on_the_cpu():
    file = io.BytesIO()
    with pretended_cuda():
        torch.save({"x": X.cuda()}, file)
    file.seek(0)
    assert torch.equal(torch.load(file, map_location="cpu", weights_only=True)["x"], X)


@pytest.mark.parametrize("make", [network, zero_shot])
def test_models_answer_learn_and_come_back_with_the_cpus_bits(make):
    def learn(model, images, labels):
        chosen = [parameter.requires_grad_(True) for parameter in model.parameters()]
        optimizer = torch.optim.AdamW(chosen, lr=1e-3)
        cross_entropy(model(images), labels).backward()
        optimizer.step()
        return model

    expected = learn(copy.deepcopy(make(USUAL)), X, Y)
    with pretended_cuda():
        moved = learn(copy.deepcopy(make(USUAL)).to("cuda"), X.cuda(), Y.cuda()).requires_grad_(False)
        slopes, copied = gradient(moved, X.cuda(), Y.cuda()).cpu(), copy.deepcopy(moved).cpu()
    assert all(type(tensor) in (torch.Tensor, nn.Parameter) for tensor in copied.state_dict().values())
    for name, tensor in expected.state_dict().items():
        assert torch.equal(copied.state_dict()[name], tensor), name
    assert torch.equal(slopes, gradient(expected.requires_grad_(False), X, Y))


def test_work_waits_and_copies_are_counted():
    with pretended_cuda() as counts:
        images = X.cuda()
        assert (counts.bytes_up, counts.bytes_down) == (X.numel() * 4, 0)
        counts.clear()
        images.view(6, -1)[:3].mul(2).add(1)
        assert dict(counts.launches) == {"mul": 1, "add": 1}
        assert not counts.waits
        float(images.sum()), images[images[:, 0, 0, 0] > 0.5], images.cpu()
    assert dict(counts.waits) == {"_local_scalar_dense": 1, "index by a mask": 1, "to cpu": 1}
    assert counts.bytes_down == X.numel() * 4


def test_numbers_divide_as_on_a_gpu_where_that_is_asked_for():
    levels = torch.arange(256.0)
    with pretended_cuda(reciprocal=True):
        found = (levels.cuda() / 255).cpu()
    assert int((found != levels / 255).sum()) == 126
    with pretended_cuda():
        assert torch.equal((levels.cuda() / 255).cpu(), levels / 255)


def resized(images):
    return interpolate(images.requires_grad_(True), (8, 8), mode="bicubic", antialias=True).sum().backward()


def test_operations_that_do_not_repeat_are_told():
    with pretended_cuda() as counts:
        resized(X.cuda())
        assert dict(counts.unrepeatable) == {"_upsample_bicubic2d_aa_backward": 1}
        torch.use_deterministic_algorithms(True)
        try:
            with pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
                resized(X.cuda())
        finally:
            torch.use_deterministic_algorithms(False)


def test_outside_there_is_no_gpu():
    before = torch.cuda.is_available(), torch.cuda.device_count()
    with pretended_cuda(devices=3):
        assert (torch.cuda.is_available(), torch.cuda.device_count()) == (True, 3)
        with torch.cuda.device(2):
            assert torch.cuda.current_device() == 2
            assert X.cuda().device == torch.device("cuda:2")
        assert torch.cuda.get_device_name(1) == "pretended GPU 1"
    assert (torch.cuda.is_available(), torch.cuda.device_count()) == before


class Forgetful(Attack):
    """Add noise that it draws on the CPU."""

    name = "forgetful"

    def craft(self, model, images, labels, task):
        unit = torch.rand(images.shape, generator=task.generator("noise"))
        return task.threat.project(images, images + task.threat.eps * unit)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is asked instead")
def test_the_kit_finds_device_mistakes_on_a_machine_without_a_gpu(judged):
    found = judged(Forgetful)["on CUDA"]
    assert (found.status, MIXED in found.sentence) == ("failed", True)
    assert "test_pretended_cuda.py, line " in found.sentence


class Weighted(Defense):
    """Train a gain with weights of the images that lie on the CPU."""

    name = "weighted"

    def wrap(self, victim, task):
        victim.gain = nn.Parameter(torch.ones(()))
        victim.register_forward_hook(lambda module, _, logits: logits * module.gain)
        return victim

    def fit(self, defended, train, task):
        for images, labels, _ in train.batches(8, task.device):
            losses = cross_entropy(defended(images), labels, reduction="none")
            self.weighted(losses).backward()
            with torch.no_grad():
                defended.gain -= 0.1 * defended.gain.grad
            defended.gain.grad = None

    def weighted(self, losses):
        return (losses * torch.linspace(0, 1, len(losses))).sum()

    def passes(self, images):
        return images, images


class Mended(Weighted):
    """Weigh them where they are."""

    name = "mended"

    def weighted(self, losses):
        return (losses * torch.linspace(0, 1, len(losses), device=losses.device)).sum()


def test_the_kit_trains_a_defense_there():
    def tried(defense):
        (check,) = (check for check in conformance(defense) if check.name == "trains on CUDA")
        return attempt(check)

    assert tried(Mended).status == "passed"
    assert (tried(Weighted).status, MIXED in tried(Weighted).sentence) == ("failed", True)
