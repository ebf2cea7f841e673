"""The fine-tuning loop: schedules, modes, seeds, and an interrupted fit that ends with the same bits."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
from torch import nn

from robench import SpecError
from robench.contracts.task import Checkpoint, Silent
from robench_builtins.attacks.pgd import PGD
from robench_builtins.defenses.lora_ce import LoraCE
from robench_builtins.defenses.tecoa import Tecoa
from robench_builtins.defenses.vpt import VPT
from robench_builtins.training.learning_rates import rate_factor
from robench_builtins.training.model_modes import under_attack, under_training

LORA = Tecoa(epochs=3, batch_size=8, learning_rate=1e-2, attack_steps=2, dropout=0.2)
DEFENSES = {
    "tecoa": LORA,
    "tecoa full, sgd": Tecoa(
        trainable="full", epochs=3, batch_size=8, learning_rate=1e-3, attack_steps=2, optimizer="sgd"
    ),
    "lora-ce": LoraCE(epochs=3, batch_size=8, learning_rate=1e-2, attack_steps=2),
    "vpt": VPT(tokens=3, epochs=3, batch_size=8, learning_rate=1e-1, attack_steps=2, schedule="cosine"),
}


class Killed(Exception):
    pass


class Interrupted(Silent):
    """Stop in the middle of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def track(self, items, total, text):
        for place, item in enumerate(items):
            if place == 1 and f"epoch {self.epoch} of" in text:
                raise Killed
            yield item


@pytest.fixture
def trained(small_clip, train, state):
    """Return a function that fits a defense to a new victim and returns its weights."""

    def fitted(defense, task):
        task = task.replace(history=[], load_model=lambda _: small_clip())
        defended = defense.wrap(small_clip(), task)
        defense.fit(defended, train, task)
        return state(defended)

    return fitted


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", DEFENSES)
def test_one_seed_gives_one_result_whatever_the_global_generator(trained, task, name):
    torch.manual_seed(1)
    first = trained(DEFENSES[name], task)
    torch.manual_seed(2)
    assert same(first, trained(DEFENSES[name], task))
    assert not same(first, trained(DEFENSES[name], task.replace(seed=8)))


@pytest.mark.parametrize("name", DEFENSES)
def test_an_interrupted_fit_ends_with_the_same_bits(trained, task, tmp_path, name):
    whole = trained(DEFENSES[name], task)
    kept = task.replace(checkpoint=Checkpoint(tmp_path / "fit"))
    with pytest.raises(Killed):
        trained(DEFENSES[name], kept.replace(progress=Interrupted(2)))
    told = []
    counting = Silent()
    counting.track = lambda items, total, text: told.append(text) or items
    assert same(whole, trained(DEFENSES[name], kept.replace(progress=counting)))
    plan = DEFENSES[name]
    assert told == [f"{plan.name}, epoch 2 of 3", f"{plan.name}, epoch 3 of 3"]


def test_a_damaged_checkpoint_starts_over(trained, task, tmp_path):
    path = tmp_path / "fit"
    kept = task.replace(checkpoint=Checkpoint(path))
    whole = trained(LORA, kept)
    path.write_bytes(path.read_bytes()[:-100])
    assert same(whole, trained(LORA, kept))


def test_a_finished_checkpoint_is_taken_as_it_is(trained, task, tmp_path):
    kept = task.replace(checkpoint=Checkpoint(tmp_path / "fit"))
    whole = trained(LORA, kept)
    assert same(whole, trained(LORA, kept.replace(progress=Interrupted(1))))


def test_a_fit_leaves_the_global_generator_alone(trained, task):
    torch.manual_seed(3)
    trained(LORA, task)
    after = torch.rand(2)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(2))


def test_dropout_acts_in_training(trained, task):
    still = Tecoa(epochs=3, batch_size=8, learning_rate=1e-2, attack_steps=2, dropout=0.0)
    assert not same(trained(LORA, task), trained(still, task))


def test_the_attack_gives_no_gradient_to_parameters(small_clip, task, train, monkeypatch):
    defended = LORA.wrap(small_clip(), task)
    craft, left = PGD.craft, []

    def checked(*arguments):
        for parameter in defended.parameters():
            parameter.grad = None
        result = craft(*arguments)
        left.extend(parameter.grad for parameter in defended.parameters())
        assert not result.requires_grad
        return result

    monkeypatch.setattr(PGD, "craft", checked)
    LORA.fit(defended, train, task)
    assert left
    assert all(gradient is None for gradient in left)


def test_images_are_really_adversarial_and_inside_the_ball(small_clip, task, train, monkeypatch):
    craft, moved = PGD.craft, []

    def recorded(attack, model, images, labels, crafting):
        result = craft(attack, model, images, labels, crafting)
        moved.append((result - images).abs().max().item())
        return result

    monkeypatch.setattr(PGD, "craft", recorded)
    LORA.fit(LORA.wrap(small_clip(), task), train, task)
    assert all(8 / 255 * 0.9 < distance <= 8 / 255 + 1e-6 for distance in moved)
    assert all(point["loss"] > point["clean_loss"] for point in task.history)


def test_under_attack_switches_everything_off_and_back_on():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)).train()
    model[1].requires_grad_(False)
    with under_attack(model):
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, True, False, False]


def test_under_training_switches_dropout_on_and_nothing_else():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)).eval()
    before = model[1].running_mean.clone()
    with under_training(model):
        assert [module.training for module in model] == [False, False, True]
        model(torch.randn(8, 2))
    assert torch.equal(model[1].running_mean, before)
    assert not model[2].training


@pytest.mark.parametrize(("warmup", "steps"), [(0.15, 40), (0.3, 57), (0.05, 200)])
def test_onecycle_is_torchs(warmup, steps):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=steps, pct_start=warmup, cycle_momentum=False
    )
    for step in range(steps):
        assert rate_factor("onecycle", warmup, step, steps) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step + 1 < steps:
            schedule.step()


def test_cosine_is_tecoas():
    factors = [rate_factor("cosine", 0.1, step, 50) for step in range(50)]
    assert factors[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert factors[5 + 45 // 3] == pytest.approx(0.75)
    assert factors[-1] == pytest.approx(0, abs=2e-3)


def test_triangular_is_torchs_cyclic():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.0, 1.0, step_size_up=20, cycle_momentum=False)
    for step in range(40):
        assert rate_factor("triangular", 0.5, step, 40) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        schedule.step()


def test_step_is_torchs_multistep():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [40, 60])
    for step in range(80):
        assert rate_factor("step", 0.15, step, 80, (0.5, 0.75)) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "triangular", "step", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.15, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 3, 30])
def test_every_schedule_stays_between_nothing_and_its_peak(schedule, warmup, steps):
    factors = [rate_factor(schedule, warmup, step, steps) for step in range(steps)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert max(factors) > 0 or (schedule == "triangular" and steps == 1)  # one update, at the foot of the triangle


def test_constant_is_constant():
    assert {rate_factor("constant", 0.5, step, 9) for step in range(9)} == {1.0}


def test_a_diverged_fit_says_what_to_lower(small_clip, task, train):
    defense = Tecoa(trainable="full", optimizer="sgd", learning_rate=1e30, schedule="constant", epochs=2)
    with pytest.raises(SpecError, match=re.escape("tecoa diverged: its loss was nan in epoch 2; lower learning_rate")):
        defense.fit(defense.wrap(small_clip(), task), train, task)


def test_the_components_import_no_torch():
    code = (
        "import sys\n"
        "from robench_builtins.defenses import adv_finetune, fare, fgsm_at, gaussian, lora_ce, none\n"
        "from robench_builtins.defenses.shared import adversarial_training, clip_fine_tuning\n"
        "from robench_builtins.defenses import pgd_at, pmg_aft, tecoa, trades, ttc, vpt\n"
        "print([name for name in ('torch', 'peft', 'transformers') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
