"""TeCoA: its equation, what it trains, what it refuses, and what it buys on real digits."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from robench import Classifier, SpecError, Task, ThreatModel, ZeroShotClassifier
from robench_builtins.attacks.pgd import PGD
from robench_builtins.datasets.digits import Digits
from robench_builtins.defenses.lora_ce import LoraCE
from robench_builtins.defenses.shared.cross_entropy_objectives import tecoa_loss
from robench_builtins.defenses.tecoa import Tecoa
from robench_builtins.models.tiny_clip import TinyClip


def test_loss_is_equation_3_in_float64():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    texts = torch.randn(4, 7, generator=generator, dtype=torch.float64)
    labels, tau = torch.tensor([0, 3, 1, 1, 2]), 0.07
    expected = 0.0
    for image, label in zip(images, labels, strict=True):
        cosines = [torch.dot(image, text) / (image.norm() * text.norm()) for text in texts]
        total = sum(torch.exp(cosine / tau) for cosine in cosines)
        expected -= torch.log(torch.exp(cosines[label] / tau) / total) / len(images)
    cosines = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    assert tecoa_loss(cosines, labels, tau).item() == pytest.approx(expected.item(), rel=1e-12)


def test_loss_is_the_cross_entropy_of_the_victims_own_logits(small_clip):
    victim, images, labels = small_clip(), torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    loss = tecoa_loss(victim.similarities(images), labels, 1 / victim.logit_scale)
    torch.testing.assert_close(loss, F.cross_entropy(victim(images), labels))


def test_loss_vanishes_on_perfect_features_although_classes_repeat_in_the_batch():
    # In-batch targets (arange(B)) cannot fall below E[log n_y]: 1.9 for 64 images of 10 classes.
    labels = torch.arange(10).repeat(7)
    assert tecoa_loss(torch.eye(10)[labels], labels, 0.01).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({}, 294_912),
        ({"targets": "q_proj, k_proj, v_proj"}, 442_368),
        ({"targets": "q_proj+k_proj+v_proj"}, 442_368),
        ({"targets": "q_proj,v_proj", "rank": 4}, 147_456),
        ({"trainable": "full"}, 87_849_216),
    ],
)
def test_trainable_parameters_of_vit_b32(vit_b32, parameters, count):
    defended = Tecoa(**parameters).wrap(vit_b32(), Task(classes=("a", "b", "c"), shape=(3, 32, 32)))
    assert sum(value.numel() for value in defended.parameters() if value.requires_grad) == count


@pytest.mark.parametrize("trained", ["lora", "full"])
def test_an_untrained_defense_gives_exactly_the_victims_logits(small_clip, task, trained):
    victim, images = small_clip(), torch.rand(6, 3, 8, 8)
    defended = Tecoa(trainable=trained, dropout=0.5).wrap(copy.deepcopy(victim), task).eval()
    assert torch.equal(defended(images), victim(images))


@pytest.mark.parametrize("trained", ["lora", "full"])
def test_what_is_declared_changes_and_nothing_else(small_clip, task, train, state, trainable, trained):
    defense = Tecoa(trainable=trained, epochs=2, batch_size=8, learning_rate=1e-2, attack_steps=2)
    defended = defense.wrap(small_clip(), task)
    before, declared = state(defended), trainable(defended)
    assert declared
    assert all(name.startswith("network.") for name in declared)
    defense.fit(defended, train, task)
    after = state(defended)
    assert sorted(name for name in after if not torch.equal(after[name], before[name])) == sorted(declared)
    assert trainable(defended) == declared
    assert not defended.training


def test_the_attack_has_the_temperature_of_the_loss(small_clip, task, train, monkeypatch):
    scales = []
    monkeypatch.setattr(PGD, "craft", lambda self, model, images, *_: scales.append(model.logit_scale) or images)
    defense = Tecoa(temperature=0.5, epochs=1, batch_size=22)
    defended = defense.wrap(small_clip(), task)
    defense.fit(defended, train, task)
    assert scales == [2.0]
    assert defended.logit_scale == 20.0


def test_the_attack_is_white_box_on_the_defended_model(small_clip, task, train, monkeypatch):
    seen = []

    def craft(attack, model, images, labels, crafting):
        seen.append((model, attack, crafting, model.training, [p.requires_grad for p in model.parameters()]))
        return images

    monkeypatch.setattr(PGD, "craft", craft)
    defense = Tecoa(eps=4 / 255, attack_steps=3, step_size=1 / 255, epochs=1, batch_size=12)
    defended = defense.wrap(small_clip(), task)
    defense.fit(defended, train, task)
    assert [model is defended for model, *_ in seen] == [True, True]
    _, attack, crafting, training, gradients = seen[0]
    assert attack == PGD(steps=3, step_size=1 / 255)
    assert crafting.threat == ThreatModel("Linf", 4 / 255)
    assert not crafting.stop_early
    assert not training
    assert not any(gradients)
    assert sorted([*seen[0][2].indices, *seen[1][2].indices]) == list(range(22))


def test_recipe_names_loss_temperature_adversary_and_what_is_trained():
    assert Tecoa().recipe() == {
        "loss": "cross-entropy of the victim's logits",
        "temperature": "the victim's own",
        "adversary": "white-box",
        "eps": 8 / 255,
        "attack_steps": 5,
        "trainable": "lora",
        "rank": 8,
        "targets": "q_proj,v_proj",
    }
    full = Tecoa(trainable="full", temperature=0.01).recipe()
    assert full["loss"] == "cross-entropy of cos(image, class texts) / temperature"
    assert full["temperature"] == 0.01
    assert full["trainable"] == "full"
    assert "rank" not in full


def test_tecoa_on_transferred_images_is_lora_ce_by_another_name():
    transfer = Tecoa(adversary="transfer", surrogate="resnet20", attack_steps=7)
    assert transfer.surrogates() == ("resnet20",)
    assert transfer.recipe() == LoraCE(surrogate="resnet20").recipe()
    assert transfer.recipe()["adversary"] == "transfer from resnet20"


def test_learning_faster_or_longer_is_no_other_defense():
    other = Tecoa(learning_rate=1.0, epochs=9, batch_size=2, optimizer="sgd", dropout=0.3, targets="v_proj,q_proj")
    assert other.recipe() == Tecoa().recipe()
    assert Tecoa(eps=4 / 255).recipe() != Tecoa().recipe()


@pytest.mark.parametrize("trained", ["lora", "full"])
def test_a_victim_without_class_texts_is_refused(plain, task, trained):
    with pytest.raises(SpecError) as error:
        Tecoa(trainable=trained).wrap(plain, task)
    assert str(error.value) == (
        "tecoa compares images with class texts, and this victim has none (it is no CLIP); "
        "choose a zero-shot victim, such as tiny-clip, or the defense 'none'."
    )


def test_a_target_that_does_not_exist_is_refused(small_clip, task):
    with pytest.raises(SpecError) as error:
        Tecoa(targets="q_proj,qproj").wrap(small_clip(), task)
    assert str(error.value) == (
        "tecoa.targets names 'qproj', which is no linear module of the victim's vision tower; "
        "it has fc1, fc2, k_proj, out_proj, q_proj, v_proj."
    )


def test_no_targets_are_refused():
    with pytest.raises(SpecError, match=r"^tecoa\.targets is empty; name linear modules, such as q_proj,v_proj\.$"):
        Tecoa(targets=" , ").target_names()


def other_tower():
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 6)).requires_grad_(False)
    return ZeroShotClassifier(tower, torch.eye(6)[:3], 20.0, torch.nn.Identity())


def test_lora_needs_a_vision_transformer_and_full_does_not(task, trainable):
    with pytest.raises(SpecError) as error:
        Tecoa().wrap(other_tower(), task)
    assert str(error.value) == (
        "tecoa with LoRA needs a CLIP vision transformer as transformers builds it (with a 'vision_model'), "
        "and the victim's image tower is a Sequential; choose a ViT victim, such as tiny-clip, or tecoa with "
        "trainable=full, which takes any tower."
    )
    full = Tecoa(trainable="full").wrap(other_tower(), task)
    assert trainable(full) == ["network.1.weight", "network.1.bias"]


def robust(model: Classifier, task: Task) -> float:
    batch = next(Digits().load("val").batches(200))
    attacked = task.replace(threat_model=ThreatModel("Linf", 8 / 255), stop_early=True, indices=batch.indices)
    images = PGD(steps=20).craft(model, batch.images, batch.labels, attacked)
    with torch.no_grad():
        return (model(images).argmax(1) == batch.labels).float().mean().item()


def test_three_epochs_on_real_digits_buy_robustness():
    digits = Digits()
    task = Task(classes=digits.classes(), templates=digits.templates, shape=(3, 32, 32))
    victim = TinyClip().load(task).requires_grad_(False)
    defense = Tecoa(learning_rate=2e-2, alpha=16, epochs=3, attack_steps=3)
    before = robust(victim, task)
    defended = defense.wrap(victim, task)
    defense.fit(defended, digits.load("train"), task)
    # 95 % intervals of 200 images reach 7 points to either side.
    assert robust(defended, task) > before + 0.14
    assert [point["epoch"] for point in task.history] == [1, 2, 3]
    assert task.history[-1]["adversarial_accuracy"] > task.history[0]["adversarial_accuracy"]
    assert task.history[0]["loss"] > task.history[0]["clean_loss"]
