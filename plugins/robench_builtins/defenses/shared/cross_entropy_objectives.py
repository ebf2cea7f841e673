"""The cross-entropies that defenses minimise: on images under noise, and on images that PGD moved."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench import Batch, Classifier, Task, ThreatModel, ZeroShotClassifier
from robench_builtins.attacks.pgd import PGD
from robench_builtins.defenses.shared.trained_defense import AdversarialDefense
from robench_builtins.training.model_modes import at_temperature, under_attack
from robench_builtins.training.objective import Objective


class CrossEntropy(Objective):
    """Minimise CE(f(x_a), y) over the model's own logits; a subclass moves the images.

    Args:
        model: the defended model.
        mix: share of each batch that stays clean. An image is clean or moved as a whole: blending the two in one
            image would halve the radius and train on neither.
    """

    def __init__(self, model: Classifier, mix: float = 0.0) -> None:
        super().__init__(model)
        self.mix = mix
        if mix:
            self.accuracy = "mixed_accuracy"

    def craft(self, batch: Batch, task: Task) -> Tensor:
        """Return the first images as they are (the order is drawn anew each epoch) and the others moved."""
        clean = round(self.mix * len(batch.images))
        if clean == len(batch.images):
            return batch.images
        rest = Batch(batch.images[clean:], batch.labels[clean:], batch.indices[clean:])
        moved = self.move(rest, task.replace(indices=rest.indices))
        return torch.cat([batch.images[:clean], moved]) if clean else moved

    def move(self, batch: Batch, task: Task) -> Tensor:
        """Return the images of ``batch`` as they are to be learnt."""
        raise NotImplementedError

    def loss(self, images: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy and the logits."""
        logits = self.model(images)
        return F.cross_entropy(logits, batch.labels), logits


class NoisyCrossEntropy(CrossEntropy):
    """Learn images under Gaussian noise of standard deviation ``sigma``, clamped to the box."""

    def __init__(self, model: Classifier, sigma: float, mix: float) -> None:
        super().__init__(model, mix)
        self.sigma, self.accuracy = sigma, "noisy_accuracy"

    def move(self, batch: Batch, task: Task) -> Tensor:
        """Return the images under new noise."""
        return (batch.images + self.sigma * task.normal(batch.images, "noise")).clamp(0, 1)


class AdversarialCrossEntropy(CrossEntropy):
    """Learn what PGD makes of the images on ``source``.

    Args:
        model: the defended model.
        plan: the training attack.
        source: the defended model itself (white-box) or a surrogate; None: images stay clean.
        mix: share of each batch that stays clean.
    """

    def __init__(
        self, model: Classifier, plan: AdversarialDefense, source: Classifier | None, mix: float = 0.0
    ) -> None:
        super().__init__(model, mix)
        self.threat, self.source = ThreatModel(norm="Linf", eps=plan.eps), source
        self.attack = PGD(
            steps=plan.attack_steps,
            step_size=plan.step(),
            restarts=1,
            random_start=plan.starts_at_random(),
            target="untargeted",
        )
        if source is None:
            self.accuracy = "clean_accuracy"
        elif source is not model:  # transferred images prove less
            self.accuracy = "transfer_accuracy"

    def move(self, batch: Batch, task: Task) -> Tensor:
        """Return adversarial images, crafted on the source in eval mode."""
        if self.source is None:
            return batch.images
        attacker = task.replace(threat_model=self.threat, stop_early=False)
        with under_attack(self.source):
            return self.attack.craft(self.source, batch.images, batch.labels, attacker).detach()


class ContrastiveCrossEntropy(AdversarialCrossEntropy):
    """Minimise the cross-entropy of cosines over a temperature: TeCoA's loss, with all class texts.

    Args:
        model: the defended model.
        plan: the training attack.
        source: what images are crafted on; None: they stay clean.
        temperature: of the loss and of the attack; None: the victim's own.
    """

    model: ZeroShotClassifier

    def __init__(
        self, model: ZeroShotClassifier, plan: AdversarialDefense, source: Classifier | None, temperature: float | None
    ) -> None:
        super().__init__(model, plan, source)
        self.temperature = 1 / model.logit_scale if temperature is None else temperature

    def running(self) -> AbstractContextManager[None]:
        """Give the attack the temperature of the loss."""
        return at_temperature(self.model, self.temperature)

    def loss(self, images: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return TeCoA's loss and the cosines."""
        cosines = self.model.similarities(images)
        return tecoa_loss(cosines, batch.labels, self.temperature), cosines


def tecoa_loss(cosines: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the mean of -log softmax(cosines / temperature) at the label; cosines (N, K) with all texts."""
    return -(cosines / temperature).log_softmax(dim=1).gather(1, labels[:, None]).mean()
