"""What a probe may see and spend."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from robench.contracts.adaptive import Expected
from robench.contracts.classifier import Classifier
from robench.contracts.components import Attack, Defense
from robench.contracts.examples import Batch, Examples
from robench.contracts.task import Task
from robench.gate.finite_differences import margin_of
from robench.gate.level import Level
from robench.gate.pass_budget import PassBudget
from robench.runtime.inference import freeze
from robench.runtime.timeout import time_limit

#: Successive answers that must be wrong before an image of a randomized defense counts as lost: one may be chance.
CONFIRMED = 3


@dataclass(frozen=True)
class ProbeContext:
    """Hold one defended victim under one threat model, and what the attacks on it left standing.

    Attributes:
        defense: what it declares about its gradients and its randomness.
        target: what a white-box attack goes through.
        prepared: what answers, rewritten for fast inference.
        plain: the same without any rewrite.
        test: the clean test images.
        clean: (N,) bool, right without attack.
        standing: (N,) bool, right under every end-to-end attack on it.
        task: carries the threat model, the seed and the device.
        level: how hard to try.
        budget: what may be spent.
        train_thumbnails: uint8 (M, 64), of the images that the victim or its defense was trained on.
        serve_unseen: returns the validation images; None where there are none.
        climbed: whether an attack on it asks for its gradients.
    """

    defense: Defense
    target: Classifier
    prepared: Classifier
    plain: Classifier
    test: Examples
    clean: Tensor
    standing: Tensor
    task: Task
    level: Level
    budget: PassBudget
    train_thumbnails: Tensor = field(default_factory=lambda: torch.empty(0, 64, dtype=torch.uint8))
    serve_unseen: Callable[[], Examples | None] = lambda: None
    climbed: bool = True

    @cached_property
    def unseen(self) -> Examples | None:
        """Return the validation images, unless they are the test images again."""
        served = self.serve_unseen()
        if served is None or not len(served) or served.shape != self.test.shape:
            return None
        return None if served.fingerprint == self.test.fingerprint else served

    @property
    def unseen_kind(self) -> str:
        """Return ``val``, or ``moved`` where test images that are moved have to stand in."""
        return "moved" if self.unseen is None else "val"

    @cached_property
    def judge(self) -> Classifier:
        """Return what decides whether an image is answered right: the mean over draws where it is randomized."""
        return Expected(self.prepared, self.defense.draws) if self.defense.randomized else self.prepared

    @property
    def price(self) -> int:
        """Return the forwards that one answer costs."""
        return self.defense.draws if self.defense.randomized else 1

    @property
    def verdict(self) -> int:
        """Return the most forwards that it costs to tell whether an image is answered wrongly."""
        return self.price * CONFIRMED if self.defense.randomized else 1

    def some(self, among: Tensor, count: int, word: str) -> list[int]:
        """Return at most ``count`` positions where ``among`` holds, drawn by the seed, in order."""
        rows = among.nonzero().flatten()
        order = torch.randperm(len(rows), generator=self.task.generator("gate", word))[:count]
        return sorted(rows[order].tolist())

    def batches(self, rows: list[int]) -> Iterator[Batch]:
        """Yield the clean images at these positions; ``indices`` are positions in the test set."""
        for images, labels, places in self.test[rows].batches(self.task.batch_size, self.task.device):
            yield Batch(images, labels, [rows[place] for place in places])

    def wrong(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return (N,) bool: which of these images are answered wrongly."""
        return self._answered(images, labels)[0]

    def answered(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N,) bool, which of these images are answered wrongly, and (N,) by how much each label leads."""
        lost, logits = self._answered(images, labels)
        return lost, margin_of(logits, labels)

    def _answered(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            logits = self.judge(images)
            lost: Tensor = logits.argmax(1) != labels
            for _ in range(CONFIRMED - 1 if self.defense.randomized else 0):
                rows = lost.nonzero().flatten()
                if len(rows):
                    lost[rows] = self.judge(images[rows]).argmax(1) != labels[rows]
            return lost, logits

    def fallen(self, rows: list[int], move: Callable[[Tensor, Tensor, Task], Tensor]) -> list[bool]:
        """Return, per row, whether ``move(images, labels, task)``, projected into the ball, fools the model."""
        fell: list[bool] = []
        for images, labels, indices in self.batches(rows):
            moved = move(images, labels, self.task.replace(indices=indices))
            fell += self.wrong(self.task.threat.project(images, moved), labels).tolist()
        return fell


@dataclass(frozen=True)
class AttackContext:
    """Hold one attack on a defended victim: the attack that is judged, and the images it left.

    Attributes:
        attack: the attack.
        target: what it goes through, the surrogate for transfer.
        white_box: whether it went through the defended victim end to end.
        survivors: (N,) bool, right under this attack.
        budget: what may be spent on this cell.
        crafted: passes that an image took in the cell, on the mean: an attack may state fewer than it takes.
        crafting: the task under which the cell's images were crafted.
        shown: the first of the images that it made, as they lie in the store.
    """

    context: ProbeContext
    attack: Attack
    target: Classifier
    white_box: bool
    survivors: Tensor
    budget: PassBudget
    crafted: float = 0.0
    crafting: Task = field(default_factory=lambda: Task(classes=(), shape=(0, 0, 0)))
    shown: Tensor | None = None

    @property
    def climbs(self) -> bool:
        """Tell whether it climbs a loss image by image, through the defended victim end to end."""
        attack = self.attack
        return self.white_box and attack.iterative and not (attack.queries_only or attack.shared)

    @property
    def cost(self) -> int:
        """Return the most passes that this attack takes for one image."""
        stated = sum(self.attack.passes_in(self.context.task.threat)) * (self.context.price if self.white_box else 1)
        return max(1, stated, math.ceil(self.crafted))

    def move(
        self, images: Tensor, labels: Tensor, task: Task, attack: Attack | None = None, patience: int = 1
    ) -> Tensor:
        """Return what the attack, or a variant of it, makes of a copy of ``images``.

        As in the cell itself a batch may take ``task.timeout`` seconds (times ``patience``), and whatever the attack
        does to the model is undone.

        Raises:
            Exhausted: the passes that the gate may spend on this attack are used up.
        """
        attack = attack or self.attack
        try:
            with self.budget.stopping(self.target), time_limit(task.timeout and patience * task.timeout, attack.name):
                return attack.craft(self.target, images.clone(), labels, task)
        finally:
            freeze(self.target, task.device)
            self.target.zero_grad(set_to_none=True)
