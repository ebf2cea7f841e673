"""The ground is real: networks that are as good, as bad, as wrong or as honest as the stories say."""

from __future__ import annotations

import hashlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robench import Classifier, Examples, ThreatModel
from robench.errors import RobenchError
from robench_builtins.datasets.digits import Digits
from robench_traps import base, data, dodges, honest, honest_defenses, training


def accuracy(model, images, labels):
    with torch.no_grad():
        return float((model(images).argmax(1) == labels).float().mean())


def under_pgd(model, images, labels, eps, steps=20):
    threat = ThreatModel("Linf", eps)
    return accuracy(model, base.climb(model, images, labels, threat, steps, 2.5 * eps / steps), labels)


@pytest.fixture(scope="module")
def test_split():
    return next(Digits().load("test").batches(200))


@pytest.fixture
def few():
    return Digits().load("train")[:128]


def test_the_plain_network_falls_completely(test_split):
    images, labels, _ = test_split

    assert accuracy(base.plain(), images, labels) > 0.95
    assert under_pgd(base.plain(), images, labels, 8 / 255) == 0


def test_the_robust_network_holds(test_split):
    images, labels, _ = test_split

    assert accuracy(base.robust(), images, labels) > 0.95
    assert under_pgd(base.robust(), images, labels, 8 / 255) > 0.85


def test_training_is_the_same_every_time_and_leaves_the_global_generator_alone(few):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    digests = []
    for _ in range(2):
        network = base.learn(base.seeded(base.mlp), few, epochs=1)
        weights = torch.cat([value.detach().flatten() for value in network.parameters()])
        digests.append(hashlib.sha256(weights.numpy().tobytes()).hexdigest())

    assert digests[0] == digests[1]
    assert torch.equal(torch.rand(3), expected)


def test_a_victim_is_a_copy_every_time(task_of):
    one, other = base.Plain().load(task_of()), base.Plain().load(task_of())
    with torch.no_grad():
        next(one.parameters()).zero_()

    assert bool(next(other.parameters()).any())
    assert bool(next(base.plain().parameters()).any())


def test_adversarial_images_for_training_come_from_eval_mode():
    network = base.seeded(base.conv_net).train()
    modes = []
    base.while_eval(network, lambda: modes.append(network.training) or torch.zeros(1))

    assert (modes, network.training) == ([False], True)


def test_one_step_training_overfits(task_of, test_split):
    images, labels, _ = test_split
    defended = fitted(training.Overfitted(), task_of())

    eps = training.OVERFIT_EPS
    step = (images + eps * base.ascent(defended, images, labels).sign()).clamp(0, 1)
    one, many = accuracy(defended, step, labels), under_pgd(defended, images, labels, eps)
    assert one > many + 0.2


def fitted(defense, task, count=None, victim=None):
    model = Classifier(victim or base.seeded(base.conv_net), classes=10).requires_grad_(False)
    if victim is None:
        model.network.load_state_dict(base.plain().state_dict())
    defended = defense.wrap(model, task)
    train = Digits().load("train")
    defense.fit(defended, train[:count] if count else train, task)
    return defended.eval()


def test_distillation_answers_as_before_with_logits_a_hundred_times_as_large(task_of, test_split):
    images, labels, _ = test_split
    defended = fitted(training.Distilled(), task_of())

    assert accuracy(defended, images, labels) > 0.93
    with torch.no_grad():
        assert float(defended(images).abs().mean()) > 50 * float(base.plain()(images).abs().mean())


def declared(model):
    return {name for name, value in model.named_parameters() if value.requires_grad}


def changed(defense, task):
    model = Classifier(base.seeded(base.conv_net), classes=10).requires_grad_(False)
    defended = defense.wrap(model, task)
    said, before = declared(defended), {name: value.clone() for name, value in defended.state_dict().items()}
    defense.fit(defended, Digits().load("train")[:128], task)
    after = defended.state_dict()
    weights = {name for name, _ in defended.named_parameters()}
    return said, {name for name in weights if not torch.equal(before[name], after[name])}


def test_an_honest_fit_changes_what_it_declares(task_of):
    said, did = changed(training.Trained(), task_of())

    assert said == did


def test_the_frozen_victim_is_trained(task_of):
    said, did = changed(training.SecretlyTrained(), task_of())

    assert said == {"gain"}
    assert len(did - said) > 5


def test_an_idle_adapter_is_declared_and_not_read(task_of):
    said, did = changed(training.IdleParameters(), task_of())

    assert {name for name in said if "adapter" in name} == {"adapter.0.weight", "adapter.0.bias"}
    assert did == said - {"adapter.0.weight", "adapter.0.bias"}


def test_a_buffer_is_trained_and_nothing_declared(task_of):
    said, did = changed(dodges.TrainsABuffer(), task_of())
    assert (said, did) == (set(), set())

    defended = fitted(dodges.TrainsABuffer(), task_of(), 128)
    assert bool(defended.get_buffer("correction").any())


def test_choosing_on_the_test_split_reads_it(task_of, monkeypatch):
    asked = []
    load = Digits.load
    monkeypatch.setattr(Digits, "load", lambda self, split: asked.append(split) or load(self, split))
    task = task_of()
    fitted(training.ChoosesOnTest(), task, 128)

    assert asked.count("test") == 3
    assert [sorted(entry) for entry in task.history] == [["test"]] * 3


def test_learning_while_asked_moves_the_last_bias(shielded, task_of, test_split):
    model = shielded(training.RefitAtTestTime, task_of())
    first, second = (model(test_split.images[:8]).detach() for _ in range(2))

    torch.testing.assert_close(
        second - first,
        (0.05 * (F.one_hot(first.argmax(1), 10).float().mean(0) - 0.1)).expand(8, 10),
        atol=1e-5,
        rtol=0,
    )


def pixels(dataset, split):
    return dataset.load(split).images()


def test_the_test_split_is_in_the_training_split():
    train, test = pixels(data.TestInTrain(), "train"), pixels(data.TestInTrain(), "test")

    assert torch.equal(train[-len(test) :], test)
    assert torch.equal(test, pixels(Digits(), "test"))


def test_the_near_copies_are_one_level_away():
    train, test = pixels(data.NearlyTestInTrain(), "train"), pixels(data.NearlyTestInTrain(), "test")

    gap = (train[-len(test) :].int() - test.int()).unique().tolist()
    assert set(gap) == {0, 1}
    assert not bool((train[-len(test) :] == test).flatten(1).all(1).any())


def test_only_the_test_labels_are_in_another_order():
    dataset = data.OtherOrder()

    assert torch.equal(dataset.load("train").labels, Digits().load("train").labels)
    true = Digits().load("test").labels
    assert torch.equal(dataset.load("test").labels, torch.where(true == 9, 9, (true + 1) % 9))


def test_the_sorted_split_has_one_class():
    assert data.OneClass().load("test").labels.unique().tolist() == [0]
    assert len(data.OneClass().load("train").labels.unique()) == 10


def test_labels_from_one():
    assert data.LabelsFromOne().load("test").labels.unique().tolist() == list(range(1, 11))


def test_pixels_to_255_are_no_images():
    with pytest.raises(RobenchError, match=r"takes float32 images in \[0, 1\]"):
        data.PixelsTo255().load("test")


def test_low_contrast_is_stretched_back(task_of, test_split):
    small = next(data.LowContrast().load("test").batches(200))
    assert (small.images * 255).round().unique().tolist() == list(range(120, 137))

    model = data.Stretches().load(task_of())
    assert accuracy(model, small.images, small.labels) > 0.93
    assert under_pgd(model, small.images, small.labels, 0.45 / 255) < 0.1


def test_few_digits_are_few_grey_and_float():
    for dataset, count in ((honest.Few(), 2), (honest.Three(), 3), (honest.Grey(), 10)):
        examples: Examples = dataset.load("test")
        assert examples.shape == (1, 32, 32)
        assert examples.images().dtype == torch.float32
        assert sorted(set(examples.labels.tolist())) == list(range(count))
        assert len(dataset.classes()) == count


def test_trades_is_the_cross_entropy_where_no_image_can_change_the_answer():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = nn.Parameter(torch.tensor([1.0, 0.0, -1.0]))

        def forward(self, images):
            return self.logits + 0 * images.flatten(1).sum(1, keepdim=True)

    labels = torch.tensor([0, 2])
    loss = honest_defenses.trades_loss(Constant(), torch.rand(2, 3, 4, 4), labels)
    expected = F.cross_entropy(torch.tensor([[1.0, 0.0, -1.0]]).expand(2, 3), labels)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    "defense", [honest_defenses.MadryTraining, honest_defenses.Trades, honest_defenses.FastTraining]
)
def test_honest_training_buys_robustness(task_of, test_split, defense):
    images, labels, _ = test_split
    defended = fitted(defense(), task_of())

    assert accuracy(defended, images, labels) > 0.85
    assert under_pgd(defended, images, labels, 8 / 255) > 0.75


def test_own_pgd_is_as_strong_as_the_built_in(test_split, task_of):
    images, labels, _ = test_split
    task = task_of().replace(indices=range(len(images)))
    moved = honest_defenses.OwnPGD().craft(base.Plain().load(task).eval(), images, labels, task)

    assert accuracy(base.plain(), moved, labels) <= 0.01
    assert float((moved - images).abs().max()) <= 8 / 255 + 1e-6


def test_the_kit_is_named_by_a_variable_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("ROBENCH_KIT", str(tmp_path))

    assert honest.no_kit() == "the developers' data kit is not here (set ROBENCH_KIT to its folder)"
    (tmp_path / "resnet20_cifar10.safetensors").touch()
    assert honest.no_kit() == ""


def test_the_kits_images_are_cifar(kit, monkeypatch):
    monkeypatch.setenv("ROBENCH_KIT", str(kit))
    examples = honest.Cifar().load("test")

    assert (len(examples), examples.shape) == (423, (3, 32, 32))
    assert honest.Cifar().origin() == "cifar10"
