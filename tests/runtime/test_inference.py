"""Every rewrite gives the same answers, or is not applied."""

from __future__ import annotations

import sys
from functools import partial

import pytest
import torch
from torch import nn

from robench.contracts.classifier import Classifier, Preprocess, input_gradient
from robench.evidence.meter import Meter
from robench.runtime import inference
from robench.runtime.inference import TOLERANCE, freeze, prepare


class Block(nn.Module):
    """Add two convolutions to a shortcut."""

    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.Conv2d(width, width, 3, 1, 1)
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x):
        return torch.relu(x + self.norm2(self.second(torch.relu(self.norm1(self.first(x))))))


class ResNet(nn.Module):
    """Be small, with the statistics of a trained model."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(Block(8), Block(8))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.blocks(torch.relu(self.norm(self.stem(x)))).mean((2, 3)))


class Branching(ResNet):
    """Decide on values, which no tracer can follow."""

    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


class Noisy(ResNet):
    """Answer differently each time."""

    def forward(self, x):
        return super().forward(x + 0.1 * torch.randn_like(x))


class Mlp(nn.Module):
    """Have neither convolutions nor batch norms."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(48, 16), nn.Linear(16, 5)

    def forward(self, x):
        return self.second(torch.relu(self.first(x.flatten(1))))


def trained(kind, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = kind()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.2, 3.0)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias)
        return freeze(Classifier(network, 5, Preprocess((0.5,) * 3, (0.25,) * 3)), "cpu")


@pytest.fixture
def probe():
    return torch.rand(16, 3, 4, 4, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def fresh():
    return torch.rand(64, 3, 4, 4, generator=torch.Generator().manual_seed(4))


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def agree(model, other, images):
    with torch.no_grad():
        expected, found = model(images), other(images)
    return torch.allclose(expected, found, atol=TOLERANCE) and torch.equal(expected.argmax(1), found.argmax(1))


def test_batch_norms_are_folded_and_answers_stay(probe, fresh):
    model = trained(ResNet)
    prepared = prepare(model, probe)
    assert prepared.steps == ("batch norms folded", "channels last")
    assert not any(isinstance(module, nn.BatchNorm2d) for module in prepared.model.modules())
    assert agree(model, prepared.model, fresh)
    assert 0 <= prepared.difference < TOLERANCE * 10


def test_input_gradients_stay_too(probe, fresh):
    model = trained(ResNet)
    gradients = []
    for each in (model, prepare(model, probe).model):
        images = fresh.clone().requires_grad_(True)
        gradients.append(torch.autograd.grad(each(images)[:, 0].sum(), images)[0])
    assert torch.allclose(*gradients, atol=1e-4)


def test_convolutions_are_stored_channels_last(probe):
    prepared = prepare(trained(ResNet), probe)
    weights = [module.weight for module in prepared.model.modules() if isinstance(module, nn.Conv2d)]
    assert len(weights) == 5
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_the_model_handed_in_is_not_touched(probe):
    model = trained(ResNet)
    before, modules = snapshot(model), [type(module) for module in model.modules()]
    prepared = prepare(model, probe)
    assert prepared.model is not model
    assert [type(module) for module in model.modules()] == modules
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(weight.is_contiguous() for weight in model.parameters())


@pytest.mark.parametrize("kind", [ResNet, Branching, Noisy, Mlp])
def test_what_comes_back_is_frozen_and_in_eval_mode(kind, probe):
    model = prepare(trained(kind).requires_grad_(True), probe).model
    assert not any(weight.requires_grad for weight in model.parameters()) or kind is Noisy
    assert not any(module.training for module in model.modules())


def test_a_model_with_randomness_is_left_alone(probe):
    model = trained(Noisy)
    prepared = prepare(model, probe)
    assert prepared.model is model
    assert prepared.steps == ("none: two forwards of one image differ",)
    assert prepared.difference == 0.0


def test_a_model_that_cannot_be_traced_keeps_its_batch_norms(probe, fresh):
    model = trained(Branching)
    prepared = prepare(model, probe)
    assert prepared.steps == ("channels last",)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in prepared.model.modules()) == 5
    assert agree(model, prepared.model, fresh)


def test_a_model_with_nothing_to_rewrite_is_used_as_it_is(probe):
    model = trained(Mlp)
    prepared = prepare(model, probe)
    assert (prepared.model, prepared.steps, prepared.difference) == (model, (), 0.0)


def test_a_patch_embedding_alone_stays_as_it_is(probe):
    model = trained(lambda: nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.Flatten()))
    assert prepare(model, probe).steps == ()


class Spike(torch.autograd.Function):
    """Fire where the potential is positive; the gradient is a surrogate's."""

    @staticmethod
    def forward(ctx, potential):
        ctx.save_for_backward(potential)
        return (potential > 0).float()

    @staticmethod
    def backward(ctx, gradient):
        (potential,) = ctx.saved_tensors
        return gradient / (1 + 3 * potential.abs()).square()


class Spiking(nn.Module):
    """Count spikes behind a convolution and a batch norm."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.Linear(8, 5)

    def forward(self, x):
        return self.head(Spike.apply(self.norm(self.stem(x))).mean((2, 3)))


def of_logits(model, images):
    images = images.clone().requires_grad_(True)
    return torch.autograd.grad(model(images)[:, 0].sum(), images)[0]


def test_a_rewrite_that_keeps_answers_and_loses_a_stated_gradient_is_dropped(probe, fresh):
    model = trained(Spiking)
    folded = inference._fold_batch_norms(model)
    assert agree(model, folded, fresh)  # by its logits alone it would be taken
    prepared = prepare(model, probe)
    assert prepared.steps == ("channels last",)
    assert torch.allclose(of_logits(prepared.model, fresh), of_logits(model, fresh), atol=1e-6)
    assert of_logits(model, fresh).abs().max() > 0


class Detached(ResNet):
    """Answer without a gradient."""

    def forward(self, x):
        return super().forward(x.detach())


def test_where_no_gradient_comes_through_logits_decide(probe):
    assert prepare(trained(Detached), probe).steps == ("batch norms folded", "channels last")


def test_a_rewrite_that_makes_up_a_gradient_is_dropped(probe, monkeypatch):
    def attached(model):
        copied = model.inference_copy()
        copied.network.__class__ = ResNet
        return copied

    monkeypatch.setattr(inference, "_REWRITES", {"attached": attached})
    assert prepare(trained(Detached), probe).steps == ()


def scaled(factor):
    def rewrite(model):
        copied = model.inference_copy()
        copied.network.second.weight.mul_(factor)
        copied.network.second.bias.mul_(factor)
        return copied

    return rewrite


def broken(model):
    raise RuntimeError("cannot")


@pytest.mark.parametrize("rewrite", [scaled(1.01), scaled(float("nan")), broken, lambda model: None])
def test_a_rewrite_that_changes_answers_or_breaks_is_dropped(rewrite, probe, monkeypatch):
    monkeypatch.setattr(inference, "_REWRITES", {"bad": rewrite, "good": scaled(1.0)})
    model = trained(Mlp)
    prepared = prepare(model, probe)
    assert prepared.steps == ("good",)
    assert prepared.difference == 0.0
    assert agree(model, prepared.model, probe)


def test_the_largest_difference_is_reported(probe, monkeypatch):
    monkeypatch.setattr(inference, "_REWRITES", {"a little": scaled(1 + 2e-5)})
    model = trained(Mlp)
    prepared = prepare(model, probe)
    assert prepared.steps == ("a little",)
    assert prepared.difference == float((prepared.model(probe) - model(probe)).abs().max()) > 0


def test_compiling_is_a_choice(probe, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda network: nn.Sequential(network))
    model = trained(Mlp)
    assert prepare(model, probe).steps == ()
    assert prepare(model, probe, compiled=True).steps == ("compiled",)


@pytest.fixture
def graphs(monkeypatch):
    """Return the graphs that torch.compile makes of models, which run them as they are."""
    made = []

    def backend(graph, inputs):
        made.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    yield made
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore")  # torch.compile's own
def test_batches_of_all_sizes_share_a_few_graphs(graphs):
    probe, model = torch.rand(16, 3, 8, 8), trained(ResNet)
    prepared = prepare(model, probe, compiled=True)
    assert (prepared.steps[-1], prepared.not_compiled) == ("compiled", "")
    assert len(graphs) == 2  # one with gradients and one without
    meter, images = Meter(device="cpu"), torch.rand(40, 3, 8, 8)
    with meter.counting(prepared.model):
        for size in (8, 40):
            assert_alike(model, prepared.model, images[:size])
        few = len(graphs)
        assert few in (2, 4)  # on most CPUs torch convolves 16 images otherwise than fewer
        for size in (1, 2, 3, 7, 13, 16, 17, 29, 1):
            assert_alike(model, prepared.model, images[:size])
    assert len(graphs) == few
    # Of an image alone the one beside it is not counted.
    assert (meter.forwards, meter.backwards) == (2 * 137, 137)


@pytest.mark.filterwarnings("ignore")  # likewise
def test_a_network_without_convolutions_has_two_graphs(graphs):
    model = trained(Mlp)
    prepared = prepare(model, torch.rand(16, 3, 4, 4), compiled=True)
    for size in (1, 2, 8, 16, 40):
        assert_alike(model, prepared.model, torch.rand(size, 3, 4, 4))
    assert len(graphs) == 2


def assert_alike(model, compiled, images):
    with torch.no_grad():
        answers, expected = compiled(images), model(images)
    assert answers.shape == expected.shape
    assert torch.allclose(answers, expected, atol=1e-5)
    gradients = [input_gradient(lambda x, of=of: of(x).logsumexp(1), images)[1] for of in (compiled, model)]
    assert torch.allclose(*gradients, atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # likewise
def test_what_stands_beside_an_image_alone_gives_it_no_gradient(probe, graphs):
    class Root(nn.Module):
        def forward(self, images):
            return (images - 0.5).relu().sqrt().flatten(1)[:, :5]  # at zero: a gradient of zero times infinity

    model = Classifier(Root(), 5)
    compiled = inference._compile(model)
    bright = torch.full((1, 3, 8, 8), 0.75)
    assert_alike(model, compiled, bright)
    _, gradient = input_gradient(lambda x: compiled(x)[:, 0], bright)
    assert int(gradient.count_nonzero()) == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError(
                "backend='inductor' raised:\nInvalidCxxCompiler: No working C++ compiler found.\n\nSet A=1 to"
            ),
            "InvalidCxxCompiler: No working C++ compiler found",
        ),
        (NotImplementedError(), "NotImplementedError"),
    ],
)
def test_why_torch_cannot_compile_is_kept(probe, monkeypatch, error, said):
    def fails(network):
        raise error

    monkeypatch.setattr(torch, "compile", fails)
    model = trained(Mlp)
    prepared = prepare(model, probe, compiled=True)
    assert prepared.steps == ()
    assert prepared.not_compiled == said
    assert prepare(model, probe).not_compiled == ""
    assert agree(model, prepared.model, probe)


def test_a_compiled_model_that_answers_otherwise_is_not_used(probe, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda network: nn.Sequential(network, nn.Hardtanh()))
    prepared = prepare(trained(Mlp), 9 * probe, compiled=True)
    assert prepared.not_compiled == "its answers or gradients differ by more than rounding"


@pytest.fixture
def adapted():
    peft = pytest.importorskip("peft")
    model = trained(Mlp)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = peft.LoraConfig(r=2, target_modules=["first", "second"], lora_dropout=0.5)
        peft.inject_adapter_in_model(config, model.network)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(weight)
    return freeze(model, "cpu")


def test_adapters_are_merged_and_answers_stay(adapted, probe, fresh):
    before = snapshot(adapted)
    prepared = prepare(adapted, probe)
    assert prepared.steps == ("adapters merged",)
    assert {name for name, _ in prepared.model.named_parameters()} == {
        f"network.{layer}.{part}" for layer in ("first", "second") for part in ("weight", "bias")
    }
    assert agree(adapted, prepared.model, fresh)
    assert not agree(trained(Mlp), prepared.model, fresh)
    after = adapted.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_without_peft_nothing_is_looked_for(adapted, probe, monkeypatch):
    monkeypatch.delitem(sys.modules, "peft.tuners.tuners_utils")
    assert prepare(adapted, probe).steps == ()


def test_freezing_turns_training_off():
    model = freeze(Classifier(Mlp().train(), 5), "cpu")
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())
