"""A benchmark whose every number is known by hand: constant grey images and a classifier that takes their mean.

logits = 10 * (mean - 0.5) * (+1, -1), so an image of grey level 128 + d has a margin of (0.5 + d) / 255 in mean
brightness, and an Linf attacker of radius eps moves the mean by exactly eps: the image survives iff 0.5 + d > 255 eps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import nn

from robench import Attack, Classifier, Dataset, Defense, Examples, Model, input_gradient, parameter
from robench.api import run
from robench.plugin.catalog import Catalog, Offer
from robench.plugin.discovery import Plugin

#: 20 images above and 20 below mid-grey, d = 0..19, and 4 with the wrong label.
OFFSETS = range(20)
CLEAN, N = 40, 44
#: Survivors of radius k/255: the d with 0.5 + d > k, on both sides.
SURVIVORS = {k: 2 * sum(0.5 + d > k for d in OFFSETS) for k in range(21)}


class Greys(Dataset):
    """Serve constant grey images."""

    name = "greys"
    victim = "mean"
    default = True
    loads: ClassVar[list[str]] = []

    def classes(self) -> tuple[str, ...]:
        return ("bright", "dark")

    def load(self, split: str) -> Examples:
        self.loads.append(split)
        levels = [128 + d for d in OFFSETS] + [127 - d for d in OFFSETS] + [200, 210, 40, 50]
        labels = [0] * 20 + [1] * 20 + [1, 1, 0, 0]
        if split == "train":
            levels, labels = levels[:40], labels[:40]
        images = torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
        if split == "train":  # other images, of nearly the same mean
            images[:, :, 0, 0] += 1
        return Examples.from_tensors(images, torch.tensor(labels))


class MeanNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(10.0))
        self.unused = nn.Parameter(torch.zeros(3))
        self.forwards = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.forwards += len(images)
        brightness = self.gain * (images.flatten(1).mean(1) - 0.5)
        return torch.stack([brightness, -brightness], 1)


class Mean(Model):
    """Tell bright from dark by the mean."""

    name = "mean"
    calls: ClassVar[list[MeanNetwork]] = []

    def load(self, task) -> Classifier:
        network = MeanNetwork()
        self.calls.append(network)
        return Classifier(network, classes=2)


class Undefended(Defense):
    """Leave the victim as it is."""

    name = "none"
    undefended = True


class Scale(Defense):
    """Train the gain, which changes no decision."""

    name = "scale"
    epochs: int = parameter(2, "passes over the training images", minimum=1)
    fits: ClassVar[list[int]] = []

    def wrap(self, victim: Classifier, task) -> Classifier:
        victim.network.gain.requires_grad_(True)
        return victim

    def fit(self, defended: Classifier, train: Examples, task) -> None:
        self.fits.append(self.epochs)
        optimizer = torch.optim.SGD([defended.network.gain], lr=0.1)
        for epoch in range(self.epochs):
            for images, labels, _ in train.batches(16, task.device, shuffle=task.generator("epoch", epoch)):
                loss = nn.functional.cross_entropy(defended(images), labels)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            task.log(epoch=epoch, loss=loss.item())

    def recipe(self):
        return {"loss": "cross-entropy", "trains": "gain"}


class Step(Attack):
    """Step once to the corner of the ball."""

    name = "step"

    def craft(self, model, images, labels, task):
        _, gradient = input_gradient(lambda x: nn.functional.cross_entropy(model(x), labels, reduction="none"), images)
        return task.threat.project(images, images + task.threat.eps * task.threat.steepest(gradient))


class Steps(Step):
    """Step to the corner of the ball in four equal steps."""

    name = "steps"
    steps: int = parameter(4, "number of steps", minimum=1)

    @property
    def iterative(self) -> bool:
        return True

    def passes(self) -> tuple[int, int]:
        return self.steps, self.steps

    def craft(self, model, images, labels, task):
        iterate = images
        for _ in range(self.steps):
            _, gradient = input_gradient(
                lambda x: nn.functional.cross_entropy(model(x), labels, reduction="none"), iterate
            )
            moved = iterate + task.threat.eps / self.steps * task.threat.steepest(gradient)
            iterate = task.threat.project(images, moved)
        return iterate


HERE = Plugin("tests", "tests", "0", None)


def offers(*components: tuple[str, type]) -> Catalog:
    return Catalog([HERE], {(role, kind.name): Offer(role, kind.name, kind, HERE) for role, kind in components})


@pytest.fixture
def catalog_of() -> Callable[..., Catalog]:
    """Return a function that makes a catalog of the grey benchmark and further (role, component) pairs."""
    base = [
        ("dataset", Greys),
        ("victim", Mean),
        ("surrogate", Mean),
        ("defense", Undefended),
        ("defense", Scale),
        ("attack", Step),
        ("attack", Steps),
    ]
    for kind in (Greys, Mean, Scale):
        {Greys: Greys.loads, Mean: Mean.calls, Scale: Scale.fits}[kind].clear()
    return lambda *more: offers(*base, *more)


@pytest.fixture
def grey(catalog_of, tmp_path: Path):
    """Return the grey benchmark: its catalog, its known numbers, and ``run(**request)`` in a fresh store."""
    known = catalog_of()

    def go(*more, **request):
        options = {"store": tmp_path / "store", "device": "cpu", "attack": "steps", "known": catalog_of(*more)}
        return run(**{**options, **request})

    return SimpleNamespace(
        run=go, catalog=known, survivors=SURVIVORS, clean=CLEAN, n=N, store=tmp_path / "store", Greys=Greys, Mean=Mean,
        Scale=Scale, Step=Step, Steps=Steps, Undefended=Undefended, replace=replace,
    )  # fmt: skip


def checks(card):
    """Return the checks of a card by name."""
    return {check.name: check for check in card.gate.checks}


def accused(card):
    """Return the names of the checks that did not pass."""
    return {check.name for check in card.gate.checks if check.status not in ("pass", "skipped")}


def only(card, name, *besides):
    """Assert that ``name``, and nothing but it and ``besides``, did not pass; return it."""
    found = accused(card)
    assert name in found, sorted(found)
    assert found <= {name, *besides}, sorted(found - {name, *besides})
    return checks(card)[name]


def attack(name_, craft_, iterative_=True, passes_=(1, 1)):
    """Return an attack of that name whose ``craft_(model, images, labels, task)`` is given."""

    class Made(Attack):
        """Do as the test says."""

        name = name_

        @property
        def iterative(self):
            return iterative_

        def passes(self):
            return passes_

        def craft(self, model, images, labels, task):
            if iterative_:  # what knows the answer asks all the same, or the gate wonders whom it attacks
                with torch.no_grad():
                    model(images)
            return craft_(model, images, labels, task)

    return "attack", Made


def defense(name_, network_=None, gradient_="exact", randomized_=False, adaptive_=None, draws_=10):
    """Return a defense that puts ``network_(inner)`` in the place of the victim's network."""

    class Made(Defense):
        """Answer as the test says."""

        name = name_
        gradient = gradient_
        randomized = randomized_
        draws = draws_

        def wrap(self, victim, task):
            if network_ is not None:
                victim.network = network_(victim.network)
            return victim

        def adaptive(self, defended, task):
            return defended if adaptive_ is None else adaptive_(defended)

    return "defense", Made


def victim(name_, network_, classes_=2):
    """Return a model whose network is ``network_()``."""

    class Made(Model):
        """Answer as the test says."""

        name = name_

        def load(self, task):
            return Classifier(network_(), classes=classes_)

    return "victim", Made


def corner(model, images, labels, task, scale=1.0):
    """Return the exact optimum on the grey benchmark: darker if bright, brighter if dark."""
    sign = torch.where(labels == 0, -1.0, 1.0).view(-1, 1, 1, 1)
    return (images + scale * task.threat.eps * sign).clamp(0, 1)


def row(cards, name, access="white-box"):
    """Return the one card of that defense and access."""
    (card,) = [card for card in cards if card.cell.defense.name == name and card.cell.threat.access == access]
    return card
