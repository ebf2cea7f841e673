"""Validate in training: keep images apart, and follow the losses: which epoch was best, when to halve or to stop."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robench import Examples, SpecError, Task
from robench_builtins.datasets.shared.stratified_splits import stratified_order


@dataclass
class ValidationMonitor:
    """Hold what the losses so far amount to.

    Attributes:
        halve_after: epochs without a lower loss after which the rate is halved; 0 never halves.
        patience: epochs without a lower loss after which training stops; 0 never stops.
        best: the lowest loss.
        stale: epochs since then.
        waited: epochs since then or since the rate was halved last.
        halvings: how often the rate was halved.
        tolerance: a difference of two epochs' training losses below which training stops; 0 never stops.
        loss: the last training loss.
        still: whether it differed by less.
    """

    halve_after: int = 0
    patience: int = 0
    best: float = math.inf
    stale: int = 0
    waited: int = 0
    halvings: int = 0
    tolerance: float = 0.0
    loss: float = math.inf
    still: bool = False

    def learn(self, loss: float) -> None:
        """Take the training loss of one more epoch."""
        self.still = abs(loss - self.loss) < self.tolerance
        self.loss = loss

    def see(self, loss: float) -> bool:
        """Take the loss of one more epoch; return whether it is the lowest."""
        if loss < self.best:
            self.best, self.stale, self.waited = loss, 0, 0
            return True
        self.stale += 1
        self.waited += 1
        if self.halve_after and self.waited >= self.halve_after:
            self.halvings += 1
            self.waited = 0
        return False

    @property
    def stopped(self) -> bool:
        """Tell whether training is over."""
        return self.still or 0 < self.patience <= self.stale


def keep_apart(train: Examples, share: float, task: Task) -> tuple[Examples, Examples]:
    """Return the images to train on and those to validate on, stratified, drawn from the task's seed."""
    order = stratified_order(train.labels.tolist(), task.fork("validation").seed)
    count = round(share * len(train))
    if share and not 0 < count < len(train):
        raise SpecError(
            f"validation={share:g} of {len(train)} training images leaves none on one side; give more images, or "
            "validation=0."
        )
    return train[sorted(order[count:])], train[sorted(order[:count])]
