"""The one loop that fine-tunes: craft, update, log, checkpoint."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from robench import Batch, Classifier, Examples, SpecError, Task
from robench_builtins.defenses.shared.cross_entropy_objectives import Objective
from robench_builtins.defenses.shared.trained_defense import Trained
from robench_builtins.training.learning_rates import rate_factor
from robench_builtins.training.model_modes import gathering_norms, global_seed, under_attack, under_training


class Training:
    """Train the parameters whose gradients are on.

    Args:
        model: the defended model, on ``task.device``.
        train: the training images.
        task: seeds, progress, curves and the checkpoint.
        plan: the hyper-parameters.
        objective: what is minimised on which images.
    """

    def __init__(self, model: Classifier, train: Examples, task: Task, plan: Trained, objective: Objective) -> None:
        self.model, self.train, self.task, self.plan, self.objective = model, train, task, plan, objective
        self.trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.norms = gathering_norms(model) if plan.gathers else {}
        self.decays = plan.decays()
        self.per_epoch = math.ceil(len(train) / plan.batch_size)
        self.optimizer = self._optimizer()

    def run(self) -> None:
        """Train what is left to train; a fit that continues from a checkpoint ends with the same bits."""
        with self.objective.running():
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
            images = self.objective.craft(batch, task)
            loss, correct = self._update(images, batch, epoch * self.per_epoch + place)
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
            self.objective.accuracy: accuracy,
        }

    def _clean_loss(self, batch: Batch) -> Tensor:
        with under_attack(self.model), torch.no_grad():
            return self.objective.loss(batch.images, batch)[0]

    def _update(self, images: Tensor, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Take one optimizer step; return its loss and the part of images that were right."""
        plan = self.plan
        factor = rate_factor(plan.schedule, plan.warmup, step, self.per_epoch * plan.epochs, self.decays)
        for group in self.optimizer.param_groups:
            group["lr"] = plan.learning_rate * factor
        # A single image has no variance to gather.
        with under_training(self.model, self.norms.values() if len(images) > 1 else ()):
            loss, answers = self.objective.loss(images, batch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        return loss.detach(), (answers.argmax(1) == batch.labels).float().mean()

    def _optimizer(self) -> torch.optim.Optimizer:
        plan, trained = self.plan, list(self.trained.values())
        if plan.optimizer == "adamw":
            return torch.optim.AdamW(trained, lr=plan.learning_rate, weight_decay=plan.weight_decay)
        return torch.optim.SGD(trained, lr=plan.learning_rate, momentum=plan.momentum, weight_decay=plan.weight_decay)

    def _save(self, epoch: int) -> None:
        state = {
            "epochs": epoch + 1,
            "trained": {name: value.detach().cpu() for name, value in self._kept().items()},
            "optimizer": self.optimizer.state_dict(),
        }
        self.task.checkpoint.save(state)

    def _resume(self) -> int:
        """Return how many epochs are done, having taken over what the checkpoint kept of them."""
        state: Any = self.task.checkpoint.load()
        if state is None:
            return 0
        with torch.no_grad():
            for name, value in self._kept().items():
                value.copy_(state["trained"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        epochs: int = state["epochs"]
        return epochs

    def _kept(self) -> dict[str, Tensor]:
        """Return what training changes: trained parameters, and the statistics that batch norms gather."""
        gathered = {
            f"{name}.{buffer}": value for name, norm in self.norms.items() for buffer, value in norm.named_buffers()
        }
        return {**self.trained, **gathered}
