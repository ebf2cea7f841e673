"""Features of many prompts: embedded on the task's device, once, with the bits that embedding them anew gives."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from robench import Task
from robench.errors import ContractError
from robench.evidence.store import Store
from robench.pipeline.remembered_tensors import remembered
from robench.testing import pretended_cuda
from robench_builtins.models.shared import text_features
from robench_builtins.models.shared.text_features import class_features, features_once

CLASSES, TEMPLATES = ("cat", "dog", "owl"), ("a {}", "the {}, small")


class Letters(nn.Module):
    """Embed a prompt as a linear map of its first eight letters."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.asked = nn.Linear(8, 4), []

    def tokens(self, prompts):
        return torch.tensor([[ord(letter) for letter in prompt.ljust(8)[:8]] for prompt in prompts])

    def encode(self, prompts):
        self.asked.append((len(prompts), self.linear.weight.device.type))
        with torch.no_grad():
            return self.linear(self.tokens(prompts).to(self.linear.weight.device).float())


@pytest.fixture
def model():
    return Letters()


@pytest.fixture
def load(tmp_path, model, monkeypatch):
    """Return a function that loads as a run does, each time with a store opened anew."""
    monkeypatch.setattr(text_features, "FEW", 2)

    def go(classes=CLASSES, templates=TEMPLATES, device="cpu", words=()):
        keep = partial(remembered, Store(tmp_path), device)
        task = Task(classes=classes, shape=(3, 8, 8), device=device, remember=keep)
        return features_once(task, templates, model, model.encode, model.tokens, [*words, model.linear])

    return go


def test_a_second_load_has_the_bits_without_the_text_tower(load, model):
    expected = class_features(model.encode, CLASSES, TEMPLATES)
    model.asked.clear()
    assert torch.equal(load(), expected)
    assert torch.equal(load(), expected)
    assert model.asked == [(6, "cpu")]


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ("cat", "dog", "fox")},
        {"templates": ("a {}", "the {}; small")},
        {"templates": TEMPLATES[::-1]},
        {"words": ["another configuration"]},
    ],
)
def test_whatever_they_depend_on_tells_them_apart(load, model, change):
    load()
    model.asked.clear()
    expected = class_features(model.encode, change.get("classes", CLASSES), change.get("templates", TEMPLATES))
    assert torch.equal(load(**change), expected)
    assert len(model.asked) == 2


def test_other_weights_give_others(load, model):
    before = load()
    with torch.no_grad():
        model.linear.weight[0, 0] += 1
    assert not torch.equal(load(), before)


def test_few_prompts_are_not_kept(load, model, tmp_path):
    for _ in range(2):
        load(classes=("cat", "dog"), templates=("a {}",))
    assert model.asked == [(2, "cpu")] * 2
    assert not (tmp_path / "remembered").exists()


def test_they_are_embedded_on_the_tasks_device(load, model):
    expected = load()
    with pretended_cuda():
        found = load(device="cuda")
        assert found.is_cuda
        again = load(device="cuda")
        assert torch.equal(found.cpu(), expected)
        assert torch.equal(again.cpu(), expected)
        assert model.linear.weight.device.type == "cpu"
        assert [place for _, place in model.asked] == ["cpu", "cuda"]


def test_a_store_that_cannot_be_written_keeps_nothing(tmp_path):
    store = Store(tmp_path)
    store.read_only = True
    for value in (1.0, 2.0):
        assert remembered(store, "cpu", lambda value=value: torch.tensor(value), ["a"]) == value


def test_what_cannot_be_told_apart_is_refused(tmp_path):
    with pytest.raises(ContractError, match=r"^task.remembered was given a list to tell results apart by; give "):
        remembered(Store(tmp_path), "cpu", lambda: torch.zeros(1), [[1]])


def test_without_a_store_it_is_made_anew():
    task = Task(classes=CLASSES, shape=(3, 8, 8))
    made = iter([torch.zeros(1), torch.ones(1)])
    assert [float(task.remembered(lambda: next(made), "a")) for _ in range(2)] == [0.0, 1.0]
