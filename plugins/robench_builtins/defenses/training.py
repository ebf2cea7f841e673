"""The one loop that fine-tunes: craft, update, log, checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robench import Batch, Classifier, Examples, SpecError, Task, ThreatModel, ZeroShotClassifier
from robench_builtins.attacks.pgd import PGD
from robench_builtins.defenses.fine_tuning import FineTuning


def tecoa_loss(cosines: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the mean of -log softmax(cosines / temperature) at the label; cosines (N, K) with all texts."""
    return -(cosines / temperature).log_softmax(dim=1).gather(1, labels[:, None]).mean()


def rate_factor(schedule: str, warmup: float, step: int, steps: int) -> float:
    """Return the learning rate of update ``step`` of ``steps`` as a part of its peak.

    onecycle is torch's OneCycleLR (from 1/25 to 1 to 1/250,000, both by cosine); cosine is linear warm-up,
    then cosine to 0, as in TeCoA's code. It depends on the step alone, so a resumed fit needs no more state.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        rise = round(warmup * steps)
        if step < rise:
            return (step + 1) / rise
        return _cosine(1.0, 0.0, (step - rise) / (steps - rise))
    start, peak = 1 / 25, warmup * steps - 1
    if step < peak:
        return _cosine(start, 1.0, step / peak)
    peak = max(peak, 0.0)
    return _cosine(1.0, start / 1e4, (step - peak) / max(steps - 1 - peak, 1.0))


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * part))


@contextmanager
def under_attack(model: nn.Module) -> Iterator[None]:
    """Put the model as an attacker meets it: eval mode, parameter gradients off."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def under_training(model: nn.Module) -> Iterator[None]:
    """Switch dropout on, and nothing else: normalisation layers keep their statistics."""
    model.eval()
    dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    try:
        for module in dropouts:
            module.train()
        yield
    finally:
        model.eval()


@contextmanager
def at_temperature(model: ZeroShotClassifier, temperature: float) -> Iterator[None]:
    """Let the logits, and so the attack's loss, have the temperature of the training loss for a while."""
    own = model.logit_scale
    try:
        model.logit_scale = 1 / temperature
        yield
    finally:
        model.logit_scale = own


@contextmanager
def global_seed(seed: int, device: str) -> Iterator[None]:
    """Seed the global generators, which dropout draws from, and give them back as they were."""
    cuda = [device] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        yield


class Training:
    """Fine-tune the parameters whose gradients are on.

    Args:
        model: the defended model, on ``task.device``.
        train: the training images.
        task: seeds, progress, curves and the checkpoint.
        plan: the hyper-parameters.
        source: the model that images are crafted on (``model`` itself: white-box); None for clean images.
    """

    def __init__(
        self,
        model: ZeroShotClassifier,
        train: Examples,
        task: Task,
        plan: FineTuning,
        source: Classifier | None,
    ) -> None:
        self.model, self.train, self.task, self.plan, self.source = model, train, task, plan, source
        self.trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.per_epoch = math.ceil(len(train) / plan.batch_size)
        self.temperature = 1 / model.logit_scale if plan.temperature is None else plan.temperature
        self.optimizer = self._optimizer()
        self.attack = PGD(
            steps=plan.attack_steps,
            step_size=plan.step_size,
            restarts=1,
            random_start=True,
            target="untargeted",
        )

    def run(self) -> None:
        """Train what is left to train; a fit that continues from a checkpoint ends with the same bits."""
        with at_temperature(self.model, self.temperature):
            for epoch in range(self._resume(), self.plan.epochs):
                task = self.task.fork("epoch", epoch)
                with global_seed(task.fork("dropout").seed, task.device):
                    metrics = self._epoch(epoch, task)
                self.task.log(**metrics)
                self._save(epoch)
        self.model.eval()

    def _epoch(self, epoch: int, task: Task) -> dict[str, float]:
        """Return the epoch's means: the loss that was trained on, the clean loss before it, and accuracy."""
        batches = self.train.batches(self.plan.batch_size, task.device, task.generator("order"))
        text = f"{self.plan.name}, epoch {epoch + 1} of {self.plan.epochs}"
        sums = torch.zeros(3, dtype=torch.float64, device=task.device)
        for place, batch in enumerate(self.task.progress.track(batches, self.per_epoch, text)):
            clean_loss = self._clean_loss(batch)
            images = self._craft(batch, task)
            loss, correct = self._update(images, batch.labels, epoch * self.per_epoch + place)
            sums += torch.stack([loss, clean_loss, correct]) * len(batch.labels)
        loss_mean, clean_mean, accuracy = (sums / len(self.train)).tolist()
        if not math.isfinite(loss_mean):
            raise SpecError(
                f"{self.plan.name} diverged: its loss was {loss_mean} in epoch {epoch + 1}; "
                f"lower learning_rate (now {self.plan.learning_rate:g})."
            )
        return {
            "epoch": epoch + 1,
            "loss": loss_mean,
            "clean_loss": clean_mean,
            self._accuracy_name(): accuracy,
        }

    def _accuracy_name(self) -> str:
        """Return what the accuracy on the training images may be called; transferred images prove less."""
        if self.source is None:
            return "clean_accuracy"
        return "adversarial_accuracy" if self.source is self.model else "transfer_accuracy"

    def _clean_loss(self, batch: Batch) -> Tensor:
        with under_attack(self.model), torch.no_grad():
            return tecoa_loss(self.model.similarities(batch.images), batch.labels, self.temperature)

    def _craft(self, batch: Batch, task: Task) -> Tensor:
        """Return the batch's training images (N, C, H, W); no parameter receives a gradient from it."""
        if self.source is None:
            return batch.images
        threat = ThreatModel(norm="Linf", eps=self.plan.eps)
        attacker = task.replace(attacked=threat, stop_early=False, indices=batch.indices)
        with under_attack(self.source):
            return self.attack.craft(self.source, batch.images, batch.labels, attacker).detach()

    def _update(self, images: Tensor, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Take one optimizer step; return its loss and the part of images that were right."""
        factor = rate_factor(self.plan.schedule, self.plan.warmup, step, self.per_epoch * self.plan.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * factor
        with under_training(self.model):
            cosines = self.model.similarities(images)
            loss = tecoa_loss(cosines, labels, self.temperature)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        return loss.detach(), (cosines.argmax(1) == labels).float().mean()

    def _optimizer(self) -> torch.optim.Optimizer:
        plan, trained = self.plan, list(self.trained.values())
        if plan.optimizer == "adamw":
            return torch.optim.AdamW(trained, lr=plan.learning_rate, weight_decay=plan.weight_decay)
        return torch.optim.SGD(trained, lr=plan.learning_rate, momentum=plan.momentum, weight_decay=plan.weight_decay)

    def _save(self, epoch: int) -> None:
        state = {
            "epochs": epoch + 1,
            "trained": {name: value.detach().cpu() for name, value in self.trained.items()},
            "optimizer": self.optimizer.state_dict(),
        }
        self.task.checkpoint.save(state)

    def _resume(self) -> int:
        """Return how many epochs are done, having taken over what the checkpoint kept of them."""
        state = self.task.checkpoint.load()
        if state is None:
            return 0
        with torch.no_grad():
            for name, value in self.trained.items():
                value.copy_(state["trained"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        epochs: int = state["epochs"]
        return epochs
