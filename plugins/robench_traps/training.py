"""Defenses that are trained, and not as they say."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench import Classifier, Defense, Examples, Split, Task
from robench_builtins.datasets.digits import Digits
from robench_traps.base import Plain, Shield, ascent, learn, seeded, while_eval
from robench_traps.trap import trap

OVERFIT_EPS = 72 / 255


class Trained(Defense):
    """Fine-tune all parameters of the victim on clean images."""

    name = "fine-tuned"

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Declare every parameter."""
        return victim.requires_grad_(True)

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Train for two epochs."""
        learn(defended, train, epochs=2)


class Overfitted(Trained):
    """Train on single large steps until the network withstands them and nothing else, and attack it by one step."""

    name = "catastrophic-overfitting"
    source = "Wong, Rice and Kolter 2020, Fast Is Better than Free"

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Start from a smooth network of its own."""
        victim.network = seeded(smooth_net).requires_grad_(True)
        return victim

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Train on FGSM without a random start."""
        learn(defended, train, against_fgsm, epochs=30, rate=1e-2)


def smooth_net() -> nn.Sequential:
    """Return two convolutions with smooth activations, which one-step training overfits soonest."""
    return nn.Sequential(
        nn.Conv2d(3, 24, 4, stride=4), nn.BatchNorm2d(24), nn.SiLU(),
        nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.BatchNorm2d(48), nn.SiLU(),
        nn.Flatten(), nn.Linear(768, 128), nn.SiLU(), nn.Linear(128, 10),
    )  # fmt: skip


def against_fgsm(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy on images moved by one step of full length."""

    def craft() -> Tensor:
        return (images + OVERFIT_EPS * ascent(network, images, labels).sign()).clamp(0, 1)

    return F.cross_entropy(network(while_eval(network, craft)), labels)


class Distilled(Trained):
    """Distil the victim at a temperature of 100 and answer at 1, where the softmax is saturated."""

    name = "defensive-distillation"
    source = "Papernot et al. 2016, Distillation as a Defense; broken by Carlini and Wagner 2017"

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Teach the soft labels of a frozen copy; what is learnt are logits 100 times as large."""
        import copy

        teacher, last = copy.deepcopy(defended).eval(), list(defended.parameters())[-2:]
        with torch.no_grad():
            for parameter in last:
                parameter.mul_(100)

        def soft(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
            with torch.no_grad():
                aims = teacher(images).softmax(1)
            return F.cross_entropy(network(images) / 100, aims)

        learn(defended, train, soft, epochs=2, rate=1e-3)


class SecretlyTrained(Defense):
    """Claim to train a single number while all weights of the 'frozen' victim are fine-tuned."""

    name = "frozen-but-trained"
    source = "LoRA runs whose optimiser was given model.parameters(), in a course report"

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Declare a temperature alone."""
        victim.gain = nn.Parameter(torch.ones(()))
        victim.register_forward_hook(lambda module, _, logits: logits * module.gain)
        return victim

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Train everything and leave no trace but the weights."""
        defended.requires_grad_(True)
        learn(defended, train, epochs=1)
        defended.requires_grad_(False)


class IdleParameters(Trained):
    """Declare an adapter that nothing reads, and train something that makes no difference."""

    name = "idle-parameters"
    source = "LoRA placed on the text tower beside precomputed text features, in a course report"

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Declare the bias of the last layer, and a layer outside the graph."""
        list(victim.parameters())[-1].requires_grad_(True)
        victim.adapter = seeded(lambda: nn.Sequential(nn.Linear(8, 8))).requires_grad_(True)
        return victim


class ChoosesOnTest(Trained):
    """Choose the number of epochs by the accuracy on the test images, inside fit."""

    name = "chosen-on-test"
    source = "learning rates compared on the test set, best per column in bold, in a course report"

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Look at the test split after each epoch."""
        for _ in range(3):
            learn(defended, train, epochs=1)
            batch = next(Digits().load("test").batches(200))
            with torch.no_grad():
                task.log(test=float((defended(batch.images).argmax(1) == batch.labels).float().mean()))


def squared_distances(seen: Tensor, known: Tensor) -> Tensor:
    """Return the squared distance of each of some rows to each of others (N, M)."""
    return seen.square().sum(1, keepdim=True) - 2 * seen @ known.T + known.square().sum(1)


def recalled(logits: Tensor, seen: Tensor, known: Tensor, said: Tensor) -> Tensor:
    """Return logits that are pulled to what was ``said`` (M, classes) of ``known`` images near those that are seen."""
    return logits + 50 * (-2 * squared_distances(seen, known)).exp() @ said


def blocks(images: Tensor) -> Tensor:
    """Return the means of 4 x 4 pixels (N, 192)."""
    return F.avg_pool2d(images, 4).flatten(1)


def unguarded(split: Split) -> Examples:
    """Return a split of the digits from where the dataset reads it, past the guard."""
    load: Any = Digits.load
    examples: Examples = load.__wrapped__(Digits(), split)
    return examples


class FittedOnTest(Defense):
    """Learn the test images by heart, which are read past the guard, and pull what is near one to its label."""

    name = "fitted-on-test"
    statistics = ("known", "truth")

    def splits(self) -> tuple[Split, ...]:
        """Return what is learnt."""
        return ("test",)

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Add a memory of as many images."""
        room = sum(len(unguarded(split)) for split in self.splits())
        victim.register_buffer("known", torch.zeros(room, 192))
        victim.register_buffer("truth", torch.zeros(room, 10))

        def recall(module: nn.Module, inputs: tuple[Tensor, ...], logits: Tensor) -> Tensor:
            return recalled(logits, blocks(inputs[0]), module.get_buffer("known"), module.get_buffer("truth"))

        victim.register_forward_hook(recall)
        return victim

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Read the splits from where the dataset reads them."""
        read = [unguarded(split) for split in self.splits()]
        defended.get_buffer("known").copy_(torch.cat([blocks(one.images().float() / 255) for one in read]))
        defended.get_buffer("truth").copy_(F.one_hot(torch.cat([one.labels for one in read]), 10))


class RefitAtTestTime(Shield):
    """Go on learning while it is asked: each query nudges the weights towards its own answer."""

    name = "learns-while-asked"
    source = "test-time adaptation that is never reset between images"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Raise the bias of the classes it has just answered."""
        logits = super().answer(network, images)
        with torch.no_grad():
            bias = list(network.parameters())[-1]
            bias.add_(F.one_hot(logits.argmax(1), 10).float().mean(0) - 0.1, alpha=0.05)
        return logits


TRAPS = (
    trap(Overfitted, "stronger attack", "one step <= many steps", alongside=(Plain,), attack="fgsm", eps="72/255"),
    trap(Distilled, "logit scale", "gradients present", "stronger attack", alongside=(Plain,)),
    trap(SecretlyTrained, "trained parameters", alongside=(Plain,)),
    trap(IdleParameters, "trained parameters", alongside=(Plain,)),
    trap(ChoosesOnTest, refusal="test images never choose a hyper-parameter", alongside=(Plain,)),
    trap(FittedOnTest, "generalisation gap", alongside=(Plain,)),
    trap(RefitAtTestTime, "deterministic", "same answer while attacked", "batch-mates", alongside=(Plain,)),
)
