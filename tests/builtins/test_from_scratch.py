"""Training from scratch: one step by hand, early stopping by hand, seeds, interruptions, and real accuracies."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import robench
from robench import Classifier, Examples, SpecError, Task
from robench.contracts.task import Checkpoint, Silent
from robench.evidence.statistics import proportion
from robench.plugin.catalog import catalog
from robench_builtins.datasets.digits import Digits
from robench_builtins.datasets.mnist import Mnist
from robench_builtins.models.mlp import Linear, Mlp
from robench_builtins.models.shared.from_scratch import TrainableModel
from robench_builtins.models.small_cnn import SmallCnn
from robench_builtins.training.augmentation import augment
from robench_builtins.training.validation import ValidationMonitor, keep_apart

CLASSES = ("a", "b", "c")
TASK = Task(classes=CLASSES, shape=(1, 8, 8), seed=5)


def examples(count: int = 60, shape: tuple[int, int, int] = (1, 8, 8), classes: int = 3) -> Examples:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    return Examples.from_tensors(images, torch.arange(count) % classes)


def trained(plan: TrainableModel, train: Examples, task: Task = TASK) -> tuple[Classifier, list[dict[str, float]]]:
    """Load and train as the harness does: every parameter with its gradient on."""
    task = task.replace(history=[])
    model = plan.load(task).requires_grad_(True)
    plan.fit(model, train, task)
    return model, task.history


def same(first: nn.Module, second: nn.Module) -> bool:
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_one_update_is_that_of_softmax_regression() -> None:
    """W - rate * (p - y) x^T / N, computed in float64 with NumPy."""
    train = examples(30)
    plan = Linear(epochs=1, batch_size=30, optimizer="sgd", momentum=0.0, learning_rate=0.3, validation=0.0)
    before = plan.load(TASK).network
    weight, bias = (before[1].weight.detach().double().numpy(), before[1].bias.detach().double().numpy())
    x = train.images().flatten(1).double().numpy() / 255
    y = np.eye(3)[train.labels.numpy()]
    logits = x @ weight.T + bias
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    model, history = trained(plan, train)
    assert np.allclose(model.network[1].weight.detach().numpy(), weight - 0.3 * (p - y).T @ x / 30, atol=1e-6)
    assert np.allclose(model.network[1].bias.detach().numpy(), bias - 0.3 * (p - y).mean(0), atol=1e-6)
    assert history == [
        {
            "epoch": 1,
            "loss": pytest.approx(-np.log((p * y).sum(1)).mean(), abs=1e-6),
            "accuracy": pytest.approx((p.argmax(1) == train.labels.numpy()).mean()),
            "learning_rate": 0.3,
        }
    ]


class Gain(nn.Module):
    """Answer (g m, -g m) for an image of mean m."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer = self.gain * images.mean(dim=(1, 2, 3))
        return torch.stack([answer, -answer], 1)


class GainModel(TrainableModel):
    """Learn one number."""

    name = "gain"

    def load(self, task: Task) -> Classifier:
        return Classifier(Gain(), 2)


def noisy() -> Examples:
    """Return one white image 80 times, with another label every fourth time: 0.75 against 0.25 in every part."""
    labels = (torch.arange(80) % 4 == 0).long()
    return Examples.from_tensors(torch.full((80, 1, 2, 2), 255, dtype=torch.uint8), labels)


def simulated(epochs: int, rate: float, momentum: float) -> list[tuple[float, float]]:
    """Return gain and loss after each full-batch update of -0.75 log s(2g) - 0.25 log s(-2g), s being logistic."""
    gain, speed, found = 0.0, 0.0, []
    for _ in range(epochs):
        right = 1 / (1 + math.exp(-2 * gain))
        speed = momentum * speed + 2 * (right - 0.75)
        gain -= rate * speed
        right = 1 / (1 + math.exp(-2 * gain))
        found.append((gain, -0.75 * math.log(right) - 0.25 * math.log(1 - right)))
    return found


PLAN: dict[str, Any] = {
    "epochs": 40,
    "batch_size": 60,
    "optimizer": "sgd",
    "learning_rate": 0.05,
    "momentum": 0.95,
    "weight_decay": 0.0,
    "validation": 0.25,
}


def test_it_stops_after_as_many_epochs_without_progress_and_takes_the_best_weights() -> None:
    """Momentum carries the gain beyond its optimum log(3) / 2, so that the loss rises again: known epoch by epoch."""
    path = simulated(40, 0.05, 0.95)
    losses = [loss for _, loss in path]
    best = next(epoch for epoch in range(40) if losses[epoch + 1] > losses[epoch])
    assert losses[best] < losses[best + 1] < losses[best + 2] < losses[best + 3] < losses[best + 4]
    model, history = trained(GainModel(**PLAN, patience=4), noisy(), TASK.replace(classes=("a", "b")))
    assert [point["validation_loss"] for point in history] == pytest.approx(losses[: best + 5], abs=1e-6)
    assert [point["epoch"] for point in history] == list(range(1, best + 6))
    assert float(model.network.gain.detach()) == pytest.approx(path[best][0], abs=1e-6)
    assert {point["validation_accuracy"] for point in history} == {0.75}


def test_without_patience_it_takes_every_epoch_and_the_last_weights() -> None:
    model, history = trained(GainModel(**PLAN), noisy(), TASK.replace(classes=("a", "b")))
    assert len(history) == 40
    assert float(model.network.gain.detach()) == pytest.approx(simulated(40, 0.05, 0.95)[-1][0], abs=1e-5)


def test_with_more_patience_than_epochs_the_best_weights_are_taken_too() -> None:
    path = simulated(20, 0.05, 0.95)
    best = min(path, key=lambda point: point[1])
    assert best != path[-1]
    model, history = trained(
        GainModel(**{**PLAN, "epochs": 20}, patience=99), noisy(), TASK.replace(classes=("a", "b"))
    )
    assert len(history) == 20
    assert float(model.network.gain.detach()) == pytest.approx(best[0], abs=1e-6)


def test_a_plateau_halves_the_rate() -> None:
    """An update too long for the optimum jumps back and forth; each epoch without progress halves it once."""
    plan = GainModel(**{**PLAN, "momentum": 0.0, "learning_rate": 12.0, "epochs": 8}, schedule="plateau", halve_after=1)
    _, history = trained(plan, noisy(), TASK.replace(classes=("a", "b")))
    gain, rate, best, rates = 0.0, 12.0, math.inf, []
    for _ in range(8):
        rates.append(rate)
        gain -= rate * 2 * (1 / (1 + math.exp(-2 * gain)) - 0.75)
        right = 1 / (1 + math.exp(-2 * gain))
        loss = -0.75 * math.log(right) - 0.25 * math.log(1 - right)
        rate, best = (rate, loss) if loss < best else (rate / 2, best)
    assert rates[-1] < rates[0]
    assert [point["learning_rate"] for point in history] == rates


def test_halving_ends_at_the_lowest_rate() -> None:
    plan = GainModel(
        **{**PLAN, "momentum": 0.0, "learning_rate": 12.0, "epochs": 8},
        schedule="plateau", halve_after=1, lowest_rate=5.0,
    )  # fmt: skip
    _, history = trained(plan, noisy(), TASK.replace(classes=("a", "b")))
    rates = [point["learning_rate"] for point in history]
    assert rates == sorted(rates, reverse=True)
    assert set(rates) == {12.0, 6.0, 5.0}


def test_a_cosine_falls_to_nothing() -> None:
    plan = GainModel(**{**PLAN, "epochs": 4}, schedule="cosine")
    _, history = trained(plan, noisy(), TASK.replace(classes=("a", "b")))
    half = math.sqrt(0.5) / 2
    assert [point["learning_rate"] / 0.05 for point in history] == pytest.approx([1, 0.5 + half, 0.5, 0.5 - half])


@pytest.mark.parametrize(
    ("halve_after", "patience", "losses", "lowest", "halvings", "stopped"),
    [
        (0, 0, [3, 2, 4, 1, 5, 5, 5], [True, True, False, True, False, False, False], 0, False),
        (0, 2, [3, 2, 4, 1, 5, 5], [True, True, False, True, False, False], 0, True),
        (2, 0, [3, 3, 3, 3, 3, 3], [True, False, False, False, False, False], 2, False),
        (2, 0, [3, 4, 2, 3, 3], [True, False, True, False, False], 1, False),
        (2, 3, [3, 3, 3, 3], [True, False, False, False], 1, True),
        (1, 1, [math.nan], [False], 1, True),
    ],
)
def test_the_watch_by_hand(
    halve_after: int, patience: int, losses: list[float], lowest: list[bool], halvings: int, stopped: bool
) -> None:
    watch = ValidationMonitor(halve_after, patience)
    assert [watch.see(loss) for loss in losses] == lowest
    assert (watch.halvings, watch.stopped) == (halvings, stopped)


def test_validation_images_are_kept_apart_stratified_and_drawn_from_the_seed() -> None:
    data = examples(90)
    train, kept = keep_apart(data, 0.2, TASK)
    assert (len(train), len(kept)) == (72, 18)
    assert kept.labels.bincount().tolist() == [6, 6, 6]
    parts = [{image.numpy().tobytes() for image in part.images()} for part in (train, kept)]
    assert not parts[0] & parts[1]
    assert len(parts[0] | parts[1]) == 90
    assert keep_apart(data, 0.2, TASK)[1].fingerprint == kept.fingerprint
    assert keep_apart(data, 0.2, TASK.replace(seed=6))[1].fingerprint != kept.fingerprint
    assert len(keep_apart(data, 0.0, TASK)[1]) == 0
    with pytest.raises(
        SpecError, match=r"^validation=0.1 of 4 training images leaves none on one side; give more images"
    ):
        keep_apart(examples(4), 0.1, TASK)


def test_validation_images_are_never_trained_on() -> None:
    plan = Mlp(epochs=3, batch_size=8, validation=0.25)
    data = examples()
    _, kept = keep_apart(data, 0.25, TASK)
    seen: set[bytes] = set()

    class Watching(Mlp):
        """Note every image that is met with gradients on."""

        def load(self, task: Task) -> Classifier:
            model = super().load(task)
            model.register_forward_pre_hook(
                lambda module, given: seen.update(
                    (image * 255).round().byte().numpy().tobytes() for image in given[0] if module.training
                )
            )
            return model

    trained(Watching(**plan.parameters), data)
    assert len(seen) == 45
    assert not seen & {image.numpy().tobytes() for image in kept.images()}


@pytest.mark.parametrize("how", ["flip", "crop+flip"])
def test_augmented_images_are_mirrored_and_shifted_by_whole_pixels(how: str) -> None:
    images = torch.rand(40, 2, 8, 16, generator=torch.Generator().manual_seed(0)) + 0.1
    moved = augment(images, how, torch.Generator().manual_seed(3))
    rows, columns = (range(-1, 2), range(-2, 3)) if how == "crop+flip" else ((0,), (0,))
    found = set()
    for image, result in zip(images, moved, strict=True):
        views = {}
        for mirrored in (False, True):
            view = image.flip(2) if mirrored else image
            for row in rows:
                for column in columns:
                    shifted = torch.zeros_like(view)
                    shifted[:, max(row, 0) : 8 + min(row, 0), max(column, 0) : 16 + min(column, 0)] = view[
                        :, max(-row, 0) : 8 - max(row, 0), max(-column, 0) : 16 - max(column, 0)
                    ]
                    views[shifted.numpy().tobytes()] = (mirrored, row, column)
        found.add(views[result.numpy().tobytes()])
    assert {way[0] for way in found} == {False, True}
    assert {way[1] for way in found} == set(rows)
    assert {way[2] for way in found} == set(columns)
    assert torch.equal(moved, augment(images, how, torch.Generator().manual_seed(3)))
    assert not torch.equal(moved, augment(images, how, torch.Generator().manual_seed(4)))


def met(data: Examples, augmentation: Any, seed: int) -> tuple[list[bytes], list[bytes]]:
    """Return the images of two epochs as the model met them, in order."""
    found: list[bytes] = []

    class Watching(Linear):
        def load(self, task: Task) -> Classifier:
            model = super().load(task)
            model.register_forward_pre_hook(
                lambda _, given: found.extend(image.numpy().tobytes() for image in given[0])
            )
            return model

    plan = Watching(epochs=2, batch_size=8, validation=0.0, augmentation=augmentation)
    trained(plan, data, TASK.replace(seed=seed))
    return found[: len(data)], found[len(data) :]


def test_every_epoch_and_seed_has_its_own_order() -> None:
    first, second = met(examples(), "none", seed=1)
    assert sorted(first) == sorted(second)
    assert first != second
    assert met(examples(), "none", seed=2)[0] != first


def test_every_epoch_and_seed_has_its_own_augmentation() -> None:
    """One image many times: what differs is how it was moved."""
    alike = Examples.from_tensors(torch.arange(64).view(1, 1, 8, 8).repeat(24, 1, 1, 1).byte(), torch.arange(24) % 3)
    first, second = met(alike, "crop+flip", seed=1)
    assert sorted(first) != sorted(second)
    assert sorted(met(alike, "crop+flip", seed=2)[0]) != sorted(first)
    assert len(set(met(alike, "none", seed=1)[0])) == 1


def test_no_augmentation_is_none() -> None:
    images = torch.rand(3, 1, 4, 4)
    assert augment(images, "none", torch.Generator()) is images


class Noisy(TrainableModel):
    """Learn with dropout and batch norm: everything that could draw or remember."""

    name = "noisy"

    def load(self, task: Task) -> Classifier:
        with torch.random.fork_rng():
            torch.manual_seed(task.seed)
            parts = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(144, 3)]
            return Classifier(nn.Sequential(*parts), 3).eval()


RESTLESS = Noisy(
    epochs=5, batch_size=7, schedule="plateau", halve_after=1, patience=2, augmentation="crop+flip", learning_rate=1e-2
)


class Killed(Exception):
    pass


class Interrupted(Silent):
    """Stop in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def track(self, items: Any, total: int, text: str) -> Any:
        for place, item in enumerate(items):
            if place == 2 and f"epoch {self.epoch} of" in text:
                raise Killed
            yield item


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_one_seed_gives_one_result_whatever_the_global_generator(optimizer: str) -> None:
    plan = Noisy(**{**RESTLESS.parameters, "optimizer": optimizer})
    torch.manual_seed(1)
    first, history = trained(plan, examples())
    after = torch.rand(2)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(2), after)
    again, repeated = trained(plan, examples())
    other, _ = trained(plan, examples(), TASK.replace(seed=6))
    assert same(first, again)
    assert history == repeated
    assert not same(first, other)


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_an_interrupted_training_ends_with_the_same_bits(epoch: int, tmp_path: Path) -> None:
    plan = Noisy(**{**RESTLESS.parameters, "patience": 9})
    whole, history = trained(plan, examples())
    kept = TASK.replace(checkpoint=Checkpoint(tmp_path / "fit"))
    with pytest.raises(Killed):
        trained(plan, examples(), kept.replace(progress=Interrupted(epoch)))
    continued, rest = trained(plan, examples(), kept)
    assert same(whole, continued)
    assert rest == history[epoch - 1 :]


def test_a_stopped_training_stays_stopped_when_it_continues(tmp_path: Path) -> None:
    plan = GainModel(**PLAN, patience=4)
    kept = TASK.replace(classes=("a", "b"), checkpoint=Checkpoint(tmp_path / "fit"))
    whole, _ = trained(plan, noisy(), kept)
    again, history = trained(plan, noisy(), kept)
    assert history == []
    assert same(whole, again)


def test_a_last_batch_of_one_image_does_not_stop_batch_norm() -> None:
    _, history = trained(Noisy(epochs=1, batch_size=9, validation=0.0), examples(19))
    assert history[0]["accuracy"] * 18 == pytest.approx(round(history[0]["accuracy"] * 18))


def test_dropout_and_batch_norm_act_in_training_and_not_after() -> None:
    model, _ = trained(RESTLESS, examples())
    assert not model.training
    assert int(model.network[1].num_batches_tracked) > 0
    images = torch.rand(4, 1, 8, 8)
    assert torch.equal(model(images), model(images))


def test_a_diverged_training_says_what_to_lower() -> None:
    plan = Linear(epochs=3, batch_size=8, optimizer="sgd", learning_rate=1e38)
    with pytest.raises(
        SpecError, match=r"^linear diverged: its loss was (nan|inf) in epoch \d; lower learning_rate \(now"
    ):
        trained(plan, examples())


@pytest.mark.parametrize(
    ("given", "what"), [({"patience": 2}, "patience"), ({"schedule": "plateau"}, "schedule=plateau")]
)
def test_what_follows_validation_needs_validation_images(given: dict[str, Any], what: str) -> None:
    with pytest.raises(
        SpecError, match=rf"^mlp cannot follow {what} without validation images; give -p mlp.validation=0.1"
    ):
        trained(Mlp(validation=0.0, **given), examples())


def test_the_passes_are_those_that_are_made() -> None:
    plan = Mlp(epochs=3, batch_size=8, validation=0.25)
    made = [0, 0]
    model = plan.load(TASK).requires_grad_(True)
    model.register_forward_hook(lambda module, given, answer: made.__setitem__(0, made[0] + len(given[0])))
    model.network[1].register_full_backward_pre_hook(lambda _, answer: made.__setitem__(1, made[1] + len(answer[0])))
    plan.fit(model, examples(), TASK)
    assert tuple(made) == plan.training_passes(60) == (180, 135)


def interval(model: Classifier, test: Examples) -> tuple[float, float]:
    with torch.no_grad():
        right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels, _ in test.batches(250))
    return proportion(right, len(test))


@pytest.mark.parametrize(
    ("plan", "least"),
    [
        (Linear(epochs=10, batch_size=64, learning_rate=2e-3), 0.85),
        (Mlp(hidden="64-32", epochs=15, batch_size=64, learning_rate=2e-3), 0.85),
        (SmallCnn(channels="8-16-32", epochs=4, batch_size=32, learning_rate=5e-3), 0.85),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_digits_are_learnt_in_seconds(plan: TrainableModel, least: float) -> None:
    digits = Digits()
    task = Task(classes=digits.classes(), shape=(3, 32, 32))
    untrained = plan.load(task)
    model, history = trained(plan, digits.load("train"), task)
    low, _ = interval(model, digits.load("test"))
    assert low > least > interval(untrained, digits.load("test"))[1]
    assert history[-1]["loss"] < history[0]["loss"] / 2


@pytest.mark.parametrize(("library", "model"), [("torchvision", "shufflenet_v2_x0_5"), ("timm", "test_resnet")])
def test_architectures_of_libraries_are_trained_too(library: str, model: str) -> None:
    pytest.importorskip(library)
    given = {"model": model, "pretrained": False, "resolution": 32, "epochs": 2, "batch_size": 64}
    plan = catalog().find("victim", library).build(given)
    digits = Digits()
    task = Task(classes=digits.classes(), shape=(3, 32, 32))
    assert plan.untrained()
    _, history = trained(plan, digits.load("train").sample(320, seed=0), task)
    assert [point["epoch"] for point in history] == [1, 2]
    assert history[1]["loss"] < history[0]["loss"]


@pytest.mark.kit
def test_the_reports_perceptron_learns_mnist(kit: Path) -> None:
    data = Mnist(path=str(kit / "mnist-subset.npz"), val=1000)
    task = Task(classes=data.classes(), shape=(1, 28, 28))
    model, history = trained(Mlp(epochs=6, patience=3), data.load("train"), task)
    low, _ = interval(model, data.load("test"))
    assert low > 0.85  # measured: 0.892
    assert history[-1]["validation_accuracy"] > 0.85


def test_a_run_trains_the_victim_first_and_its_card_says_how(tmp_path: Path) -> None:
    (card,) = robench.run(
        victim="mlp[hidden=64-32,epochs=15,batch_size=64,learning_rate=0.002]",
        attack="fgsm",
        eps="8/255",
        n=100,
        store=tmp_path,
    )
    assert card.model.training is not None
    assert card.model.training.trainable == 3072 * 64 + 64 + 64 * 32 + 32 + 32 * 10 + 10
    assert [point["epoch"] for point in card.model.training.history] == list(range(1, 16))
    assert card.clean.rate > 0.8
    assert card.robust.rate < card.clean.rate
    assert card.gate.verdict == "VALID", [check for check in card.gate.checks if check.status != "passed"]
