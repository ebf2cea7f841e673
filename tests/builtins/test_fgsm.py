"""FGSM against models whose answer is known by hand, and against torchattacks."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from robench import Classifier, Task, ThreatModel, input_gradient
from robench_builtins.attacks.fgsm import FGSM

SHAPE = (3, 4, 4)
DIMENSIONS = 48
TEN = tuple("abcdefghij")


class Linear(nn.Module):
    """Score class 0 with w.(x - 0.5) and class 1 with its negative."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images):
        score = (images - 0.5).flatten(1) @ self.weight
        return torch.stack([score, -score], 1)


class Counting(Classifier):
    """Count images that pass forward and backward."""

    def __init__(self, network, classes):
        super().__init__(network, classes)
        self.forwards = self.backwards = 0

    def forward(self, images):
        logits = super().forward(images)
        self.forwards += len(images)
        if logits.requires_grad and images.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient):
        self.backwards += len(gradient)


def small_net(seed=0, classes=10):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(classes),
    ).eval()


def frozen(network, classes=10, shape=SHAPE):
    network(torch.zeros(1, *shape))
    return Counting(network.requires_grad_(False), classes)


def pixels(count, shape=SHAPE, seed=1):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def task(threat, classes=("a", "b"), shape=SHAPE, **fields):
    return Task(classes=classes, shape=shape, threat_model=threat, **fields)


def weight():
    return torch.randn(DIMENSIONS, generator=torch.Generator().manual_seed(3))


def images_at(scores, w):
    """Return images whose score w.(x - 0.5) is exactly as given."""
    return 0.5 + (scores[:, None] * w / w.dot(w)).view(-1, *SHAPE)


@pytest.mark.parametrize(("norm", "dual"), [("Linf", 1), ("L2", 2)])
def test_linear_model_falls_exactly_where_the_dual_norm_says(norm, dual):
    eps, w = 0.02, weight()
    reach = eps * w.norm(p=dual)
    scores = reach * torch.tensor([0.2, 0.98, 1.02, 1.5])
    model = frozen(Linear(w), 2)
    images, labels = images_at(scores, w), torch.zeros(4, dtype=torch.long)

    adversarial = FGSM().craft(model, images, labels, task(ThreatModel(norm, eps)))

    assert model(images).argmax(1).tolist() == [0, 0, 0, 0]
    assert model(adversarial).argmax(1).tolist() == [1, 1, 0, 0]
    torch.testing.assert_close(model(adversarial)[:, 0], scores - reach, atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("eps", [0.01, 0.3, 1.0])
def test_result_lies_in_the_box_and_the_ball(norm, eps):
    model, images, threat = frozen(small_net()), pixels(6), ThreatModel(norm, eps)
    images[0], images[1] = 0.0, 1.0

    adversarial = FGSM().craft(model, images, torch.arange(6), task(threat, TEN))

    assert adversarial.shape == images.shape
    assert adversarial.dtype == torch.float32
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    assert threat.distance(images, adversarial).max() <= eps + 1e-6


def test_every_pixel_moves_by_eps_in_the_direction_of_the_gradient():
    model, eps = frozen(small_net()), 0.01
    images, labels = 0.2 + 0.6 * pixels(5), torch.arange(5)
    _, gradient = input_gradient(lambda x: nn.functional.cross_entropy(model(x), labels, reduction="none"), images)

    adversarial = FGSM().craft(model, images, labels, task(ThreatModel("Linf", eps), TEN))

    torch.testing.assert_close(adversarial, images + eps * gradient.sign(), atol=1e-7, rtol=0)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_no_radius_gives_back_the_same_bits_in_another_tensor(norm):
    images = pixels(4)
    adversarial = FGSM().craft(
        frozen(small_net()), images, torch.zeros(4, dtype=torch.long), task(ThreatModel(norm, 0.0), TEN)
    )
    assert torch.equal(adversarial, images)
    assert adversarial.data_ptr() != images.data_ptr()


def test_cost_is_one_forward_and_one_backward_an_image():
    model = frozen(small_net())
    FGSM().craft(model, pixels(7), torch.zeros(7, dtype=torch.long), task(ThreatModel(), TEN))
    assert (model.forwards, model.backwards) == (7, 7)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_zero_gradient_leaves_the_image_and_makes_no_nan(norm):
    images = pixels(3)
    model = frozen(Linear(torch.zeros(DIMENSIONS)), 2)
    adversarial = FGSM().craft(model, images, torch.zeros(3, dtype=torch.long), task(ThreatModel(norm, 0.1)))
    assert torch.equal(adversarial, images)


def test_no_parameter_ever_gets_a_gradient_even_if_it_is_trainable():
    network = small_net()
    network(pixels(1))
    model = Counting(network, 10)
    images = pixels(3)

    adversarial = FGSM().craft(model, images, torch.arange(3), task(ThreatModel(), TEN))

    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not adversarial.requires_grad
    assert not images.requires_grad


def test_inputs_are_left_as_they_were():
    images, labels = pixels(3), torch.arange(3)
    before = images.clone()
    FGSM().craft(frozen(small_net()), images, labels, task(ThreatModel(), TEN))
    assert torch.equal(images, before)
    assert labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_an_image_is_treated_alike_in_every_batch(norm):
    model, images, labels = frozen(small_net()), pixels(6), torch.arange(6)
    job = task(ThreatModel(norm, 0.05), TEN)
    together = FGSM().craft(model, images, labels, job)
    alone = torch.cat([FGSM().craft(model, images[i : i + 1], labels[i : i + 1], job) for i in range(6)])
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=0)


def test_it_works_under_no_grad():
    images = pixels(2)
    with torch.no_grad():
        adversarial = FGSM().craft(frozen(small_net()), images, torch.arange(2), task(ThreatModel(), TEN))
    assert not torch.equal(adversarial, images)


def test_same_images_as_torchattacks():
    torchattacks = pytest.importorskip("torchattacks")
    model = frozen(small_net())
    images, labels = pixels(16), torch.arange(16) % 10
    theirs = torchattacks.FGSM(model, eps=8 / 255)(images, labels)
    ours = FGSM().craft(model, images, labels, task(ThreatModel("Linf", 8 / 255), TEN))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_it_is_a_one_step_attack_without_parameters():
    assert FGSM().name == "fgsm"
    assert "Goodfellow" in FGSM.source
    assert FGSM().parameters == {}
    assert not FGSM().iterative
    FGSM().check(ThreatModel("L2", 0.5))


def test_listing_it_imports_no_torch():
    code = "import robench_builtins.attacks.fgsm, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
