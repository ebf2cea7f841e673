"""Objectives that compare answers with answers: TRADES, FARE and PMG-AFT."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench import Batch, Classifier, Task, ThreatModel, ZeroShotClassifier, input_gradient
from robench_builtins.defenses.shared.cross_entropy_objectives import AdversarialCrossEntropy
from robench_builtins.defenses.shared.trained_defense import AdversarialDefense
from robench_builtins.training.model_modes import at_temperature, under_attack
from robench_builtins.training.objective import Objective

#: Standard deviation of the noise that TRADES starts from: at the image itself the divergence has no gradient.
TRADES_START = 1e-3


class Trades(Objective):
    """Minimise CE(f(x), y) + beta KL(p(x) || p(x_a)), where x_a climbs the divergence."""

    def __init__(self, model: Classifier, plan: AdversarialDefense, beta: float) -> None:
        super().__init__(model)
        self.plan, self.beta = plan, beta

    def craft(self, batch: Batch, task: Task) -> Tensor:
        """Return the images whose answers are farthest from the clean images', the model in eval mode."""
        task = task.replace(indices=batch.indices)
        start = batch.images + TRADES_START * task.normal(batch.images, "start")
        with under_attack(self.model):
            with torch.no_grad():
                aims = self.model(batch.images)
            return ascend(lambda x: divergence(self.model(x), aims), batch.images, start, self.plan)

    def loss(self, images: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss, whose gradient reaches clean and adversarial answers, and the latter."""
        clean, moved = self.model(batch.images), self.model(images)
        return F.cross_entropy(clean, batch.labels) + self.beta * divergence(moved, clean).mean(), moved


class Fare(Objective):
    """Minimise |phi(x_a) - phi_org(x)|^2 over features, where x_a climbs it; labels are not used."""

    model: ZeroShotClassifier

    def __init__(self, model: ZeroShotClassifier, plan: AdversarialDefense) -> None:
        super().__init__(model)
        self.plan, self.original = plan, frozen_copy(model)
        self._known: tuple[list[int], Tensor] | None = None

    def craft(self, batch: Batch, task: Task) -> Tensor:
        """Return the images whose features are farthest from the original ones of the clean images."""
        task = task.replace(indices=batch.indices)
        aims, threat = self._aims(batch), ThreatModel(norm="Linf", eps=self.plan.eps)
        start = threat.from_uniform(batch.images, task.uniform(batch.images, "start"))
        with under_attack(self.model):
            return ascend(lambda x: squared(self.model.features(x), aims), batch.images, start, self.plan)

    def loss(self, images: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean squared distance, and the cosines with the class texts."""
        features = self.model.features(images)
        cosines = F.normalize(features.detach(), dim=1) @ self.model.get_buffer("text_features").T
        return squared(features, self._aims(batch)).mean(), cosines

    def _aims(self, batch: Batch) -> Tensor:
        """Return the original features of the batch's clean images, computed once a batch."""
        if self._known is None or self._known[0] is not batch.indices:
            with torch.no_grad():
                self._known = batch.indices, self.original.features(batch.images)
        return self._known[1]


class Guided(AdversarialCrossEntropy):
    """Minimise PMG-AFT's loss: cross-entropy, and two divergences from the adversarial answers."""

    model: ZeroShotClassifier

    def __init__(
        self,
        model: ZeroShotClassifier,
        plan: AdversarialDefense,
        temperature: float,
        weights: tuple[float, float],
        total: bool,
    ) -> None:
        super().__init__(model, plan, model)
        self.original, self.temperature, self.weights, self.total = frozen_copy(model), temperature, weights, total

    def running(self) -> AbstractContextManager[None]:
        """Give the attack the temperature of the loss."""
        return at_temperature(self.model, self.temperature)

    def loss(self, images: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss, whose gradient also reaches the clean answers, and the adversarial logits."""
        moved = self.model.similarities(images) / self.temperature
        with torch.no_grad():
            original = self.original.similarities(images) / self.temperature
        clean = self.model.similarities(batch.images) / self.temperature
        guide, keep = self.weights
        apart = guide * divergence(moved, original) + keep * divergence(moved, clean)
        return F.cross_entropy(moved, batch.labels) + (apart.sum() if self.total else apart.mean()), moved


def divergence(logits: Tensor, aims: Tensor) -> Tensor:
    """Return KL(softmax(aims) || softmax(logits)) per image (N,); a gradient reaches both."""
    kept, moved = aims.log_softmax(1), logits.log_softmax(1)
    return (kept.exp() * (kept - moved)).sum(1)


def squared(features: Tensor, aims: Tensor) -> Tensor:
    """Return the squared distance of two rows of features (N, D), per image (N,)."""
    return (features - aims).square().sum(1)


def ascend(loss: Callable[[Tensor], Tensor], images: Tensor, start: Tensor, plan: AdversarialDefense) -> Tensor:
    """Return ``start`` after the plan's sign steps up a per-image ``loss``, projected before and after each.

    PGD does this for the cross-entropy; here the loss is the defense's own.
    """
    threat = ThreatModel(norm="Linf", eps=plan.eps)
    iterate = threat.project(images, start)
    for _ in range(plan.attack_steps):
        _, gradient = input_gradient(loss, iterate)
        iterate = threat.project(images, iterate + plan.step() * threat.steepest(gradient))
    return iterate.detach()


def frozen_copy(model: ZeroShotClassifier) -> ZeroShotClassifier:
    """Return the model as it is before training; the harness counts its passes too."""
    return copy.deepcopy(model).eval().requires_grad_(False)
