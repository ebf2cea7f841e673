"""LoRA-CE: where its images come from, what LoRA touches, and when it is TeCoA by another name."""

from __future__ import annotations

import copy

import pytest
import torch

from robench import SpecError, Task
from robench_builtins.attacks.pgd import PGD
from robench_builtins.defenses.lora_ce import LoraCE
from robench_builtins.defenses.tecoa import Tecoa

QUICK = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-2, "attack_steps": 2}


@pytest.fixture
def crafted_on(monkeypatch):
    """Return the list of the models that images were crafted on."""
    models, craft = [], PGD.craft

    def recording(attack, model, *rest):
        models.append(model)
        return craft(attack, model, *rest)

    monkeypatch.setattr(PGD, "craft", recording)
    return models


def test_trainable_parameters_of_vit_b32(vit_b32):
    defended = LoraCE().wrap(vit_b32(), Task(classes=("a", "b", "c"), shape=(3, 32, 32)))
    assert sum(value.numel() for value in defended.parameters() if value.requires_grad) == 294_912


def test_only_the_targets_of_the_vision_tower_get_adapters(small_clip, task, trainable):
    names = trainable(LoraCE().wrap(small_clip(), task))
    assert len(names) == 2 * 2 * 2  # layers, targets, A and B
    assert all(".self_attn.q_proj.lora_" in name or ".self_attn.v_proj.lora_" in name for name in names)
    assert all(name.startswith("network.vision_model.encoder.layers.") for name in names)


def test_scale_is_alpha_over_rank(small_clip, task):
    defended = LoraCE(rank=4, alpha=12).wrap(small_clip(), task)
    victim = small_clip()
    layer = defended.network.vision_model.encoder.layers[0].self_attn.q_proj
    layer.lora_B["default"].weight.data.normal_(generator=torch.Generator().manual_seed(0))
    weight = victim.network.vision_model.encoder.layers[0].self_attn.q_proj
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
    expected = weight(x) + 3 * x @ layer.lora_A["default"].weight.T @ layer.lora_B["default"].weight.T
    torch.testing.assert_close(layer(x), expected)


def test_initial_values_come_from_the_tasks_seed_alone(small_clip, task, state):
    torch.manual_seed(1)
    first = state(LoraCE().wrap(small_clip(), task))
    untouched = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(untouched, torch.rand(3))
    second = state(LoraCE().wrap(small_clip(), task))
    other = state(LoraCE().wrap(small_clip(), task.replace(seed=8)))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_an_untrained_adapter_gives_exactly_the_victims_logits(small_clip, task):
    victim, images = small_clip(), torch.rand(6, 3, 8, 8)
    assert torch.equal(LoraCE().wrap(copy.deepcopy(victim), task).eval()(images), victim(images))


def test_images_are_crafted_on_the_surrogate(small_clip, task, train, crafted_on):
    surrogate, asked = small_clip(seed=5), []
    task = task.replace(load_model=lambda name: asked.append(name) or surrogate)
    defense = LoraCE(surrogate="resnet20", **QUICK)
    defense.fit(defense.wrap(small_clip(), task), train, task)
    assert asked == ["resnet20"]
    assert len(crafted_on) == 3
    assert all(model is surrogate for model in crafted_on)
    assert list(task.history[0]) == ["epoch", "loss", "clean_loss", "transfer_accuracy"]


def test_the_surrogate_is_left_as_it_was(small_clip, task, train, state):
    surrogate = small_clip(seed=5)
    before = state(surrogate)
    defense = LoraCE(**QUICK)
    defended = defense.wrap(small_clip(), task)
    defense.fit(defended, train, task.replace(load_model=lambda _: surrogate))
    assert all(torch.equal(before[name], value) for name, value in surrogate.state_dict().items())
    assert all(parameter.grad is None for parameter in surrogate.parameters())


def test_white_box_crafts_on_the_defended_model(small_clip, task, train, crafted_on):
    defense = LoraCE(adversary="white-box", **QUICK)
    defended = defense.wrap(small_clip(), task)
    defense.fit(defended, train, task)
    assert crafted_on
    assert all(model is defended for model in crafted_on)
    assert "adversarial_accuracy" in task.history[0]


def test_clean_crafts_nothing_and_claims_no_robustness(small_clip, task, train, crafted_on):
    defense = LoraCE(adversary="clean", dropout=0.0, **QUICK)
    defense.fit(defense.wrap(small_clip(), task), train, task)
    assert crafted_on == []
    assert list(task.history[0]) == ["epoch", "loss", "clean_loss", "clean_accuracy"]
    assert task.history[0]["loss"] == pytest.approx(task.history[0]["clean_loss"])


def test_what_is_declared_changes_and_nothing_else(small_clip, task, train, state, trainable):
    task = task.replace(load_model=lambda _: small_clip())
    defense = LoraCE(**QUICK)
    defended = defense.wrap(small_clip(), task)
    before, declared = state(defended), trainable(defended)
    defense.fit(defended, train, task)
    after = state(defended)
    assert sorted(name for name in after if not torch.equal(after[name], before[name])) == sorted(declared)


def test_white_box_lora_ce_is_tecoa_by_another_name():
    same = LoraCE(adversary="white-box", attack_steps=5)
    assert same.recipe() == Tecoa().recipe()
    assert LoraCE(adversary="white-box", attack_steps=5, temperature=1.0).recipe() != Tecoa().recipe()
    assert LoraCE(adversary="white-box", attack_steps=5, temperature=1.0).recipe() == Tecoa(temperature=1.0).recipe()
    assert LoraCE(adversary="white-box", attack_steps=5, rank=4).recipe() != Tecoa().recipe()


def test_white_box_lora_ce_learns_tecoas_very_weights(small_clip, task, train, state):
    options = {**QUICK, "dropout": 0.0}
    ends = []
    for defense in (LoraCE(adversary="white-box", **options), Tecoa(**options)):
        defended = defense.wrap(small_clip(), task)
        defense.fit(defended, train, task)
        ends.append(state(defended))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_another_adversary_is_another_defense():
    recipes = [LoraCE(adversary=kind).recipe() for kind in ("transfer", "white-box", "clean")]
    recipes.append(LoraCE(surrogate="resnet20").recipe())
    assert [recipe["adversary"] for recipe in recipes] == [
        "transfer from self",
        "white-box",
        "clean",
        "transfer from resnet20",
    ]
    assert recipes[2]["eps"] is None
    assert recipes[2]["attack_steps"] is None


def test_a_victim_without_class_texts_is_refused(plain, task):
    with pytest.raises(SpecError, match=r"^lora-ce compares images with class texts, and this victim has none"):
        LoraCE().wrap(plain, task)
