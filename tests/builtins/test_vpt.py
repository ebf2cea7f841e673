"""Prompts: where they go, how they start, and that they alone are trained."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from robench import SpecError, Task
from robench_builtins.defenses.vpt import VPT

QUICK = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-1, "attack_steps": 2}
MODES = {"shallow": {"tokens": 3}, "deep": {"tokens": 3}, "padding": {"prompt_size": 2}, "bias": {}}


def by_hand(victim, images, prompts):
    """Write CLIP's forward out, with prompts[i] in the input of layer i."""
    vision = victim.network.vision_model
    embedded = vision.embeddings(victim.preprocess(images))
    count = prompts[0].shape[1]
    hidden = torch.cat([embedded[:, :1], prompts[0].expand(len(images), -1, -1), embedded[:, 1:]], 1)
    hidden = vision.pre_layrnorm(hidden)
    for place, layer in enumerate(vision.encoder.layers):
        if 0 < place < len(prompts):
            hidden = hidden.clone()
            hidden[:, 1 : 1 + count] = prompts[place]
        hidden = layer(hidden, None)
    features = victim.network.visual_projection(vision.post_layernorm(hidden[:, 0]))
    return victim.logit_scale * torch.nn.functional.normalize(features, dim=1) @ victim.text_features.T


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({}, 7_680),
        ({"tokens": 200}, 153_600),
        ({"mode": "deep"}, 92_160),
        ({"mode": "padding"}, 69_840),
        ({"mode": "bias"}, 150_528),
    ],
)
def test_trainable_parameters_of_vit_b32(vit_b32, parameters, count):
    defended = VPT(**parameters).wrap(vit_b32(), Task(classes=("a", "b", "c"), shape=(3, 32, 32)))
    assert sum(value.numel() for value in defended.parameters() if value.requires_grad) == count


@pytest.mark.parametrize("mode", ["shallow", "deep"])
def test_tokens_equal_a_forward_written_by_hand(small_clip, task, mode):
    victim, images = small_clip(), torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    defended = VPT(mode=mode, tokens=3, init="tecoa").wrap(copy.deepcopy(victim), task)
    prompts = [value for value in defended.parameters() if value.requires_grad]
    assert [tuple(value.shape) for value in prompts] == [(1, 3, 16)] * (2 if mode == "deep" else 1)
    with torch.no_grad():
        torch.testing.assert_close(defended(images), by_hand(victim, images, prompts), rtol=1e-5, atol=1e-5)
        assert not torch.equal(defended(images), victim(images))


def test_deep_prompts_of_a_layer_replace_what_the_prompts_before_became(small_clip, task):
    defended = VPT(mode="deep", tokens=3).wrap(small_clip(), task)
    layer, seen = defended.network.vision_model.encoder.layers[1], []
    layer.layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    defended(torch.rand(2, 3, 8, 8))
    assert seen[0].shape == (2, 1 + 3 + 4, 16)
    assert torch.equal(seen[0][:, 1:4], layer.prompts.expand(2, -1, -1))


def test_padding_adds_its_frame_and_leaves_the_centre(small_clip, task):
    victim, images = small_clip(), torch.rand(2, 3, 8, 8)
    defended = VPT(mode="padding", prompt_size=2, init="tecoa").wrap(copy.deepcopy(victim), task)
    added = (defended.preprocess(images) - victim.preprocess(images)).detach()
    assert torch.equal(added[:, :, 2:6, 2:6], torch.zeros(2, 3, 4, 4))
    frame = defended.preprocess
    close = torch.testing.assert_close
    close(added[:, :, :2], frame.up.detach().expand(2, -1, -1, -1))
    close(added[:, :, 6:], frame.down.detach().expand(2, -1, -1, -1))
    close(added[:, :, 2:6, :2], frame.left.detach().expand(2, -1, -1, -1))
    close(added[:, :, 2:6, 6:], frame.right.detach().expand(2, -1, -1, -1))
    assert sum(value.numel() for value in defended.parameters() if value.requires_grad) == 2 * 3 * 2 * (8 + 8 - 4)


def test_padding_lies_at_the_models_resolution_not_the_images(vit_b32):
    task = Task(classes=("a", "b", "c"), shape=(3, 40, 60))
    defended = VPT(mode="padding", prompt_size=30).wrap(vit_b32(), task)
    assert defended.preprocess.up.shape == (1, 3, 30, 224)
    assert defended.preprocess.left.shape == (1, 3, 164, 30)


def test_a_frame_without_a_centre_is_refused(small_clip, task):
    with pytest.raises(SpecError) as error:
        VPT(mode="padding", prompt_size=4).wrap(small_clip(), task)
    assert str(error.value) == "vpt.prompt_size 4 leaves nothing of an image of 8 x 8; give at most 3."


def test_xavier_start_of_vpt_and_normal_start_of_tecoa(small_clip, task):
    bound = math.sqrt(6 / (3 * 4 * 4 + 16))
    xavier = VPT(tokens=500).wrap(small_clip(), task).network.vision_model.embeddings.prompts
    assert xavier.abs().max().item() == pytest.approx(bound, rel=1e-2)
    assert xavier.abs().max() <= bound
    assert xavier.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    normal = VPT(tokens=500, init="tecoa").wrap(small_clip(), task).network.vision_model.embeddings.prompts
    assert normal.std().item() == pytest.approx(1, rel=0.05)


def test_xavier_bound_of_vit_b32(vit_b32):
    defended = VPT(tokens=50).wrap(vit_b32(), Task(classes=("a", "b", "c"), shape=(3, 32, 32)))
    prompts = defended.network.vision_model.embeddings.prompts
    assert prompts.abs().max().item() == pytest.approx(0.03953, rel=1e-3)


@pytest.mark.parametrize("mode", MODES)
def test_initial_values_come_from_the_tasks_seed_alone(small_clip, task, state, mode):
    defense = VPT(mode=mode, **MODES[mode])
    torch.manual_seed(1)
    first = state(defense.wrap(small_clip(), task))
    torch.manual_seed(2)
    second = state(defense.wrap(small_clip(), task))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_declared_changes_and_nothing_else(small_clip, task, train, state, trainable, mode):
    defense = VPT(mode=mode, **MODES[mode], **QUICK)
    defended = defense.wrap(small_clip(), task)
    before, declared = state(defended), trainable(defended)
    assert {name.rpartition(".")[2] for name in declared} <= {"prompts", "up", "down", "left", "right", "pixels"}
    defense.fit(defended, train, task)
    after = state(defended)
    assert sorted(name for name in after if not torch.equal(after[name], before[name])) == sorted(declared)
    assert trainable(defended) == declared
    assert task.history[-1]["epoch"] == 2


@pytest.mark.parametrize("mode", MODES)
def test_training_lowers_the_loss(small_clip, task, train, mode):
    options = {**QUICK, "epochs": 6, "eps": 0.0}
    defense = VPT(mode=mode, **MODES[mode], **options)
    defense.fit(defense.wrap(small_clip(), task), train, task)
    assert task.history[-1]["loss"] < task.history[0]["loss"]


def test_state_dict_is_plain_and_loads_into_a_new_wrap(small_clip, task, train):
    defense = VPT(mode="deep", tokens=3, **QUICK)
    defended = defense.wrap(small_clip(), task)
    defense.fit(defended, train, task)
    fresh = defense.wrap(small_clip(), task)
    fresh.load_state_dict(defended.state_dict())
    images = torch.rand(3, 3, 8, 8)
    assert torch.equal(fresh(images), defended(images))


def test_recipe_tells_modes_and_sizes_apart():
    assert VPT(prompt_size=5).recipe() == VPT().recipe()
    recipes = [VPT(mode=mode).recipe() for mode in MODES] + [
        VPT(tokens=5).recipe(),
        VPT(eps=1 / 255).recipe(),
    ]
    assert all(recipes.count(recipe) == 1 for recipe in recipes)
    assert VPT().recipe()["trainable"] == "shallow prompts"
    assert VPT().recipe()["size"] == 10


def test_tokens_upon_tokens_are_refused(small_clip, task):
    once = VPT().wrap(small_clip(), task)
    with pytest.raises(SpecError) as error:
        VPT().wrap(once, task)
    assert str(error.value) == (
        "vpt has already put prompt tokens into this victim; give one vpt all the tokens instead."
    )


def test_a_victim_without_class_texts_is_refused(plain, task):
    with pytest.raises(SpecError, match=r"^vpt compares images with class texts, and this victim has none"):
        VPT().wrap(plain, task)


def test_a_bias_lies_on_every_pixel_of_the_models_resolution(small_clip, vit_b32, task):
    victim, images = small_clip(), torch.rand(2, 3, 8, 8)
    defended = VPT(mode="bias", init="tecoa").wrap(copy.deepcopy(victim), task)
    added = defended.preprocess(images) - victim.preprocess(images)
    torch.testing.assert_close(added, defended.preprocess.pixels.expand(2, -1, -1, -1))
    large = VPT(mode="bias").wrap(vit_b32(), Task(classes=("a", "b", "c"), shape=(3, 32, 32)))
    assert large.preprocess.pixels.shape == (1, 3, 224, 224)


def test_a_bias_of_zero_changes_nothing_until_it_is_trained(small_clip, task, train):
    victim, images = small_clip(), torch.rand(2, 3, 8, 8)
    defense = VPT(mode="bias", init="zero", **QUICK)
    defended = defense.wrap(copy.deepcopy(victim), task)
    assert torch.equal(defended(images), victim(images))
    defense.fit(defended, train, task)
    assert not torch.equal(defended(images), victim(images))


def test_prompts_can_be_trained_on_transferred_images(small_clip, task, train):
    asked = []
    task = task.replace(load_model=lambda name: asked.append(name) or small_clip(seed=5))
    defense = VPT(adversary="transfer", surrogate="resnet20", **QUICK)
    assert defense.surrogates() == ("resnet20",)
    assert VPT().surrogates() == ()
    defense.fit(defense.wrap(small_clip(), task), train, task)
    assert asked == ["resnet20"]
    assert "transfer_accuracy" in task.history[0]
    assert defense.recipe()["adversary"] == "transfer from resnet20"
