"""A bare module, no plugin."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import robench
from robench import Dataset, Examples


class Mean(nn.Module):
    def __init__(self, gain=10.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, images):
        brightness = self.gain * (images.flatten(1).mean(1) - 0.5)
        return torch.stack([brightness, -brightness], 1)


def greys(names=("bright", "dark")):
    class Levels(Dataset):
        """Serve grey levels of one's own."""

        name = "levels"

        def classes(self):
            return names

        def load(self, split):
            levels = torch.tensor([128 + d for d in range(20)] + [127 - d for d in range(20)], dtype=torch.uint8)
            images = levels.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
            return Examples.from_tensors(images, torch.tensor([0] * 20 + [1] * 20))

    return Levels()


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "pgd[steps=5,restarts=2]"])
def test_a_module_is_measured_as_known_by_hand(attack):
    card = robench.evaluate(Mean(), dataset=greys(), attack=attack, eps="8/255", device="cpu")

    assert (card.clean.correct, card.clean.n) == (40, 40)
    assert card.robust.correct == 2 * 12  # 0.5 + d > 8
    assert card.gate.verdict == "VALID"
    assert card.cell.victim.name == "module"


def test_parameters_and_norm_reach_the_attack():
    card = robench.evaluate(
        Mean(), dataset=greys(), attack="pgd", eps="32/255", norm="L2", parameters={"attack.steps": 7}, device="cpu"
    )

    assert card.cell.attack.parameters["steps"] == 7
    assert card.robust.correct == 2 * 12  # the L2 radius over sqrt(16) pixels


def test_the_module_is_left_as_it_was():
    module = Mean().train()
    before = module.gain.detach().clone()
    robench.evaluate(module, dataset=greys(), eps="8/255", device="cpu")

    assert module.training
    assert module.gain.requires_grad
    assert module.gain.grad is None
    assert torch.equal(module.gain, before)


def test_a_torchscript_module_is_measured_too():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates the writing of TorchScript; there are modules of it
        module = torch.jit.trace(Mean(), torch.rand(2, 1, 4, 4))
    card = robench.evaluate(module, dataset=greys(), attack="fgsm", eps="8/255", device="cpu")

    assert (card.clean.correct, card.robust.correct) == (40, 24)


def test_two_modules_of_other_weights_are_two_victims(tmp_path):
    one = robench.evaluate(Mean(10.0), dataset=greys(), store=tmp_path, device="cpu")
    other = robench.evaluate(Mean(20.0), dataset=greys(), store=tmp_path, device="cpu")

    assert one.id != other.id


def test_softmax_outputs_are_a_sentence():
    with pytest.raises(robench.RobenchError, match=r"module returns probabilities, not logits: .* Remove the softmax"):
        robench.evaluate(nn.Sequential(Mean(), nn.Softmax(1)), dataset=greys(), device="cpu")


def test_a_wrong_number_of_classes_is_a_sentence():
    with pytest.raises(robench.RobenchError, match="module has 2 classes, but the dataset has 3"):
        robench.evaluate(Mean(), dataset=greys(("a", "b", "c")), device="cpu")


def test_cuda_where_there_is_none_is_a_sentence():
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(robench.RobenchError, match='device="cuda" was asked for, but torch sees no CUDA device here'):
        robench.evaluate(Mean(), dataset=greys(), device="cuda")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_and_labels_can_be_handed_over_as_they_are(dtype):
    levels = torch.tensor([128 + d for d in range(20)] + [127 - d for d in range(20)], dtype=torch.uint8)
    images = levels.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    images = images if dtype == torch.uint8 else images.float() / 255
    card = robench.evaluate(Mean(), dataset=(images, torch.tensor([0] * 20 + [1] * 20)), eps="8/255", device="cpu")

    assert (card.clean.correct, card.robust.correct) == (40, 24)
    assert card.data.classes == ["0", "1"]


def test_normalised_images_are_a_sentence():
    with pytest.raises(robench.RobenchError, match=r"takes float32 images in \[0, 1\]; normalise inside the model"):
        robench.evaluate(Mean(), dataset=(torch.randn(4, 1, 4, 4), torch.tensor([0, 1, 0, 1])), device="cpu")


def test_the_classes_are_the_models_even_if_the_labels_do_not_reach_them(tmp_path):
    class Wide(nn.Module):
        def forward(self, images):
            brightness = 10 * (images.flatten(1).mean(1) - 0.5)
            return torch.stack([brightness, -brightness, torch.full_like(brightness, -100.0)], 1)

    images = torch.full((6, 1, 4, 4), 200, dtype=torch.uint8)
    card = robench.evaluate(Wide(), dataset=(images, torch.zeros(6, dtype=torch.long)), eps="1/255", device="cpu")

    assert card.data.classes == ["0", "1", "2"]
    assert card.clean.correct == 6
