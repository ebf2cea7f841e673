"""What is trained of any classifier, where it starts, what batch norms do, and what stays bit for bit."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn

from robench import Classifier, Examples, SpecError
from robench.contracts.task import Checkpoint, Silent
from robench.evidence.store import Store
from robench.pipeline.stages.fit import fit
from robench.runtime.inference import freeze
from robench_builtins.defenses.adv_finetune import AdvFinetune
from robench_builtins.defenses.fare import Fare
from robench_builtins.defenses.fgsm_at import FgsmAT
from robench_builtins.defenses.gaussian import Gaussian
from robench_builtins.defenses.pgd_at import PgdAT
from robench_builtins.defenses.pmg_aft import PmgAFT
from robench_builtins.defenses.shared.layer_selection import reaching
from robench_builtins.defenses.tecoa import Tecoa
from robench_builtins.defenses.trades import TradesAT
from robench_builtins.training.model_modes import gathering_norms

QUICK = {"epochs": 2, "batch_size": 7, "learning_rate": 1e-2}
STEPS = {"attack_steps": 2}
KINDS = {
    "fgsm-at": FgsmAT(**QUICK),
    "pgd-at": PgdAT(**QUICK, **STEPS, mix=0.5),
    "trades": TradesAT(**QUICK, **STEPS),
    "gaussian": Gaussian(**QUICK),
    "adv-finetune": AdvFinetune(**QUICK, **STEPS, frozen="0,1"),
}
STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}


class Net(nn.Sequential):
    """Two convolutions with batch norms and a head; ``spare`` is never called."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2),
            nn.Flatten(), nn.Linear(64, 3),
        )  # fmt: skip
        self.spare = nn.Linear(2, 2)

    def forward(self, images):
        for name, module in self.named_children():
            images = module(images) if name != "spare" else images
        return images


@pytest.fixture
def net():
    """Return a function that builds the victim, frozen, with statistics of its own."""

    def build():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            model = Net().train()
            model(torch.rand(20, 3, 8, 8))
        return freeze(Classifier(model, 3), "cpu")

    return build


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("name", KINDS)
def test_the_manifest_is_what_is_declared_and_gathered_and_nothing_else(net, task, train, tmp_path, name):
    defense = KINDS[name]
    fitted = fit(defense, net(), lambda: train, task, Store(tmp_path), "key")
    training = fitted.training
    assert training.without_gradient == training.undeclared == []
    assert not any("spare" in name for name in training.names)
    frozen = name == "adv-finetune"
    norms = ["network.4"] if frozen else ["network.1", "network.4"]
    assert set(training.buffers) == {f"{norm}.{kind}" for norm in norms for kind in STATISTICS}
    parameters = [value.numel() for name, value in net().named_parameters() if "spare" not in name]
    assert training.trainable == sum(parameters[4:] if frozen else parameters)
    restored = fit(defense, net(), lambda: train, task, Store(tmp_path), "key")
    images = torch.rand(4, 3, 8, 8)
    assert torch.equal(restored.model(images), fitted.model(images))


@pytest.mark.parametrize("defense", [*KINDS.values(), Fare(**QUICK, **STEPS), PmgAFT(**QUICK, **STEPS)], ids=str)
def test_the_passes_promised_are_the_passes_counted(net, small_clip, task, train, tmp_path, defense):
    victim = small_clip() if defense.name in ("fare", "pmg-aft") else net()
    cost = fit(defense, victim, lambda: train, task, Store(tmp_path), "key").cost
    promised = defense.passes(len(train))
    if getattr(defense, "mix", 0):  # a share of each batch is rounded
        assert (cost.forwards, cost.backwards) == pytest.approx(promised, rel=0.05)
    else:
        assert (cost.forwards, cost.backwards) == promised


@pytest.mark.parametrize("name", KINDS)
def test_one_seed_gives_one_result_and_an_interrupted_fit_its_very_bits(net, task, train, state, tmp_path, name):
    class Killed(Exception):
        pass

    class Interrupted(Silent):
        def track(self, items, total, text):
            for place, item in enumerate(items):
                if place == 1 and "epoch 2 of" in text:
                    raise Killed
                yield item

    def fitted(task, scramble):
        torch.manual_seed(scramble)
        defended = KINDS[name].wrap(net(), task)
        KINDS[name].fit(defended, train, task.replace(history=[]))
        return state(defended)

    whole = fitted(task, 1)
    kept = task.replace(checkpoint=Checkpoint(tmp_path / "fit"))
    with pytest.raises(Killed):
        fitted(kept.replace(progress=Interrupted()), 2)
    assert changed(whole, fitted(kept, 3)) == set()
    assert changed(whole, fitted(task.replace(seed=8), 1)) != set()


# Batch norms


def test_batch_norms_gather_what_the_updates_show_them_and_nothing_while_crafting(net, task, train, state):
    defense = PgdAT(**QUICK, **STEPS)
    defended = defense.wrap(net(), task)
    before = state(defended)
    batch = next(train.batches(7))
    defense.objective(defended, task).craft(batch, task)
    assert changed(before, state(defended)) == set()
    defense.fit(defended, train, task)
    # 22 images in batches of 7 are 4 updates, the last of one image, which has no variance.
    assert defended.network[1].num_batches_tracked == 1 + 2 * 3
    assert not defended.training


def test_trades_shows_batch_norms_clean_and_adversarial_batches(net, task, train):
    defense = TradesAT(**QUICK, **STEPS)
    defended = defense.wrap(net(), task)
    defense.fit(defended, train, task)
    assert defended.network[1].num_batches_tracked == 1 + 2 * 2 * 3


def test_statistics_are_those_of_torchs_own_train_mode(net, task):
    images = torch.rand(6, 3, 8, 8)
    train = Examples.from_tensors(images, torch.zeros(6, dtype=torch.long))
    defense = PgdAT(eps=0.0, epochs=1, batch_size=6, learning_rate=0.0, weight_decay=0.0)
    defended, other = defense.wrap(net(), task), net()
    defense.fit(defended, train, task)
    other.network.train()(images)
    torch.testing.assert_close(defended.network[1].running_mean, other.network[1].running_mean)
    torch.testing.assert_close(defended.network[1].running_var, other.network[1].running_var)


def test_norms_without_parameters_gather_if_all_is_trained():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False), nn.BatchNorm1d(2))
    assert list(gathering_norms(model)) == ["1", "2"]
    model[0].requires_grad_(False)
    assert list(gathering_norms(model)) == ["2"]
    assert list(gathering_norms(nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)))) == []


# Which layers


@pytest.mark.parametrize(
    ("parameters", "layers"),
    [
        ({}, {"0", "1", "3", "4", "8"}),
        ({"last": 1}, {"8"}),
        ({"last": 2}, {"4", "8"}),
        ({"last": 99}, {"0", "1", "3", "4", "8"}),
        ({"frozen": "0"}, {"1", "3", "4", "8"}),
        ({"frozen": "0+1, 3 4"}, {"8"}),
        ({"frozen": "8", "last": 2}, {"3", "4"}),
        ({"frozen": "[01]"}, {"3", "4", "8"}),
    ],
)
def test_layers_are_chosen_by_name_by_pattern_and_from_the_end(net, task, trainable, parameters, layers):
    names = trainable(AdvFinetune(**parameters).wrap(net(), task))
    assert {name.split(".")[1] for name in names} == layers


def test_what_lies_inside_a_frozen_layer_is_frozen_with_it(small_clip, task, trainable):
    names = trainable(
        AdvFinetune(frozen="vision_model.encoder.layers.0 *.embeddings *layrnorm *layernorm").wrap(small_clip(), task)
    )
    assert {name.split(".")[2] for name in names} == {"encoder", "weight"}
    assert all(".layers.1." in name for name in names if "encoder" in name)
    assert "network.visual_projection.weight" in names


@pytest.mark.parametrize("parameters", [{"frozen": "0 1"}, {"last": 2}])
def test_frozen_layers_are_unchanged_bit_for_bit(net, task, train, state, parameters):
    defense = AdvFinetune(**parameters, **QUICK, **STEPS)
    defended = defense.wrap(net(), task)
    before = state(defended)
    defense.fit(defended, train, task)
    moved = {name.split(".")[1] for name in changed(before, state(defended))}
    assert moved == ({"3", "4", "8"} if "frozen" in parameters else {"4", "8"})


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        (
            {"frozen": "layer9"},
            "adv-finetune.frozen names 'layer9', and the victim has no such layer; it has 0, 1, 3, 4, 8.",
        ),
        ({"frozen": "*"}, "adv-finetune.frozen leaves no layer to train; it has 0, 1, 3, 4, 8."),
    ],
)
def test_what_cannot_be_frozen_is_refused(net, task, parameters, sentence):
    with pytest.raises(SpecError) as error:
        AdvFinetune(**parameters).wrap(net(), task)
    assert str(error.value) == sentence


def test_of_many_layers_a_few_are_named(task):
    victim = freeze(Classifier(nn.Sequential(nn.Flatten(), *(nn.Linear(192, 192) for _ in range(12))), 192), "cpu")
    with pytest.raises(SpecError, match=re.escape("it has 1, 2, 3, 4, 5, 6, 7, 8, ... (12 in all).")):
        AdvFinetune(frozen="x").wrap(victim, task)


class Constant(nn.Module):
    def forward(self, images):
        return images.flatten(1)[:, :3]


def test_a_victim_without_parameters_is_refused(task):
    with pytest.raises(SpecError) as error:
        PgdAT().wrap(Classifier(Constant(), 3), task)
    assert str(error.value) == (
        "pgd-at trains the victim's parameters, and this victim has none that its logits depend on (it was "
        "exported so); bring the model itself, such as FILE.py:NAME."
    )


def test_looking_for_parameters_leaves_the_model_as_it_was(net, state):
    model = net()
    before = state(model)
    used = reaching(model, (3, 8, 8), "x")
    assert len(used) == 10
    assert changed(before, state(model)) == set()
    assert not any(value.requires_grad or value.grad is not None for value in model.parameters())


# Where it starts


def test_from_scratch_draws_every_layer_from_the_tasks_seed_alone(net, task, state):
    defense = PgdAT(start="scratch")
    torch.manual_seed(1)
    first = state(defense.wrap(net(), task))
    untouched = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(untouched, torch.rand(3))
    assert changed(first, state(defense.wrap(net(), task))) == set()
    assert "network.0.weight" in changed(first, state(defense.wrap(net(), task.replace(seed=8))))
    assert {"network.0.weight", "network.8.bias", "network.1.running_mean"} <= changed(first, state(net()))
    assert changed(state(PgdAT().wrap(net(), task)), state(net())) == set()


def test_what_cannot_be_drawn_anew_is_named(small_clip, task):
    with pytest.raises(SpecError) as error:
        PgdAT(start="scratch").wrap(small_clip(), task)
    assert str(error.value).startswith("pgd-at.start=scratch cannot draw 'vision_model.embeddings' anew: CLIPVision")
    assert str(error.value).endswith("Bring an untrained model and leave start at victim.")


# Recipes and schedules


def test_adversarial_training_of_a_clip_is_tecoa_by_another_name(small_clip, task, train, trainable):
    plan = {"attack_steps": 3, "epochs": 1, "batch_size": 22, "optimizer": "sgd", "learning_rate": 1e-2}
    same = {**plan, "weight_decay": 0.0, "schedule": "constant"}
    defenses = [PgdAT(**same), Tecoa(trainable="full", **same), AdvFinetune(**same)]
    assert len({tuple(defense.recipe().items()) for defense in defenses}) == 1
    ends = []
    for defense in defenses:
        defended = defense.wrap(small_clip(), task)
        names = trainable(defended)
        defense.fit(defended, train, task)
        ends.append({name: defended.get_parameter(name).detach() for name in names})
    for other in ends[1:]:
        assert other.keys() == ends[0].keys()
        for name in other:
            torch.testing.assert_close(other[name], ends[0][name], rtol=1e-4, atol=1e-6)


def test_what_makes_another_defense_is_in_the_recipe():
    different = [
        PgdAT(), PgdAT(mix=0.5), PgdAT(start="scratch"), PgdAT(eps=4 / 255), PgdAT(attack_steps=7), FgsmAT(),
        FgsmAT(step_size=1 / 255), TradesAT(), TradesAT(beta=1.0), Gaussian(), Gaussian(sigma=0.5), Gaussian(mix=0.5),
        AdvFinetune(last=1), AdvFinetune(frozen="a"), AdvFinetune(frozen="a", last=1), Fare(), Fare(eps=4 / 255),
        PmgAFT(), PmgAFT(guide=0.0), PmgAFT(keep=0.0), PmgAFT(reduction="mean"), PmgAFT(temperature=0.01),
    ]  # fmt: skip
    recipes = [defense.recipe() for defense in different]
    assert all(recipes.count(recipe) == 1 for recipe in recipes)
    assert PgdAT(learning_rate=1.0, epochs=1, batch_size=1).recipe() == PgdAT().recipe()
    assert AdvFinetune(frozen="b a").recipe() == AdvFinetune(frozen="a,b,b").recipe()


@pytest.mark.parametrize("text", ["", "0.5 2", "half", "1/0", "0", "1"])
def test_decays_that_are_no_parts_are_refused(text):
    with pytest.raises(SpecError) as error:
        PgdAT(decay_at=text).decays()
    assert str(error.value) == (
        f"pgd-at.decay_at is '{text}'; give parts of the updates between 0 and 1, such as '0.5 0.75'."
    )


def test_decays_are_read_where_the_schedule_uses_them():
    assert TradesAT().decays() == (75 / 76,)
    assert Gaussian().decays() == pytest.approx((1 / 3, 2 / 3))
    assert PgdAT(decay_at="x", schedule="cosine").decays() == ()


def test_mixed_accuracy_is_not_called_adversarial(net, task, train):
    for defense, name in [(PgdAT(**QUICK), "adversarial_accuracy"), (KINDS["pgd-at"], "mixed_accuracy"),
                          (KINDS["gaussian"], "noisy_accuracy")]:  # fmt: skip
        log = task.replace(history=[])
        defense.fit(defense.wrap(net(), log), train, log)
        assert name in log.history[-1]


def test_a_diverged_fit_says_what_to_lower(net, task, train):
    defense = FgsmAT(learning_rate=1e30, epochs=3)
    with pytest.raises(SpecError, match="fgsm-at diverged: its loss was nan in epoch"):
        defense.fit(defense.wrap(net(), task), train, task)


def test_the_victim_is_left_alone(net, task, train, state):
    victim = net()
    before = state(victim)
    for defense in KINDS.values():
        defense.fit(defense.wrap(copy.deepcopy(victim), task), train, task)
    assert changed(before, state(victim)) == set()


def test_published_defaults():
    assert (FgsmAT().eps, FgsmAT().step(), FgsmAT().epochs, FgsmAT().learning_rate, FgsmAT().weight_decay) == (
        8 / 255, 10 / 255, 15, 0.2, 5e-4,
    )  # fmt: skip
    assert (PgdAT().eps, PgdAT().attack_steps, PgdAT().learning_rate, PgdAT().weight_decay) == (8 / 255, 10, 0.1, 2e-4)
    assert (TradesAT().eps, TradesAT().step(), TradesAT().beta) == (0.031, 0.007, 6.0)
    assert (Fare().eps, Fare().step(), Fare().learning_rate, Fare().optimizer) == (2 / 255, 1 / 255, 1e-5, "adamw")
    assert (PmgAFT().eps, PmgAFT().step(), PmgAFT().learning_rate, PmgAFT().batch_size) == (1 / 255, 1 / 255, 5e-5, 256)
    assert all(defense().momentum == 0.9 for defense in (FgsmAT, PgdAT, TradesAT, Gaussian, PmgAFT))
