"""The forward of TTC: an attack on the features of each image, inside the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robench import ThreatModel, ZeroShotClassifier, input_gradient, straight_through
from robench_builtins.defenses.regularised import squared

if TYPE_CHECKING:
    from robench_builtins.defenses.ttc import TTC


class Counterattacking(ZeroShotClassifier):
    """Answer to the countered image; forward exactly TTC, backward as if the counterattack did not depend on x.

    Args:
        victim: what is defended; its tower, texts and preprocessing are taken over.
        plan: the counterattack.
    """

    def __init__(self, victim: ZeroShotClassifier, plan: TTC) -> None:
        texts = victim.get_buffer("text_features")
        super().__init__(victim.image_tower, texts, victim.logit_scale, victim.preprocess, victim.encode_text)
        self.victim, self.plan = victim, plan
        self.train(victim.training)

    def features(self, images: Tensor) -> Tensor:
        """Return the features (N, D) of the countered images."""
        return self.victim.features(straight_through(self.counter)(images))

    def counter(self, images: Tensor) -> Tensor:
        """Return the countered images (N, C, H, W), in the box."""
        threat = ThreatModel(norm="Linf", eps=self.plan.eps)
        own = self.victim.features(images)
        iterate = threat.from_uniform(images, torch.rand_like(images) * 2 - 1)
        deltas = [iterate - images]
        stable = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        for step in range(self.plan.steps):
            moved, gradient = input_gradient(lambda x: squared(self.victim.features(x), own), iterate)
            if step == 0:  # moved.sqrt() is |phi(x + d_0) - phi(x)|, so noise costs no forward of its own
                stable = moved.sqrt() < self.plan.threshold * own.norm(dim=1)
            iterate = threat.project(images, iterate + self.plan.step_size * threat.steepest(gradient))
            deltas.append(iterate - images)
        weights = torch.softmax(self.plan.beta * torch.arange(len(deltas), device=images.device), 0)
        countered = sum(weight * delta for weight, delta in zip(weights, deltas, strict=True))
        chosen = torch.where(stable[:, None, None, None], countered, deltas[0])
        return (images + chosen).clamp(0, 1)
