"""The one loop that trains: craft, update, validate, log, checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench import Batch, Classifier, Examples, SpecError, Task
from robench_builtins.training.model_modes import global_seed, under_attack, under_training
from robench_builtins.training.objective import Objective
from robench_builtins.training.validation import ValidationMonitor

#: More epochs than these are not each shown, logged and kept.
MOST_LOGGED = 1000


@dataclass(frozen=True)
class Recipe:
    """Hold how often and how fast parameters are updated.

    Attributes:
        name: the component's, for errors.
        title: what the progress bar says.
        factor: the part of the learning rate at which update ``i`` of ``n`` is made, as ``factor(i, n)``.
        halve_after: epochs without a lower validation loss after which the rate is halved; 0 never halves.
        patience: such epochs after which training stops, to take the best weights; 0 takes the last ones.
        tolerance: training stops after an epoch whose loss differs by less from the one before; 0 never stops.
        lowest_rate: what halving does not take the learning rate below.
    """

    name: str
    title: str
    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    momentum: float
    weight_decay: float
    factor: Callable[[int, int], float]
    halve_after: int = 0
    patience: int = 0
    tolerance: float = 0.0
    lowest_rate: float = 0.0

    @property
    def every(self) -> int:
        """Return how many epochs lie between two that are shown, logged and kept: thousands would drown the rest."""
        return math.ceil(self.epochs / MOST_LOGGED)


class TrainingLoop:
    """Train the parameters whose gradients are on.

    Args:
        model: the model, on ``task.device``.
        train: the training images.
        task: seeds, progress, curves and the checkpoint.
        recipe: how the parameters are updated.
        objective: what is minimised on which images.
        norms: the batch norms that see the updates' images, all else but dropout staying in eval mode; None puts the
            whole model into training mode.
        validation: images that are never trained on, whose loss is followed; None for none.
    """

    def __init__(
        self,
        model: Classifier,
        train: Examples,
        task: Task,
        recipe: Recipe,
        objective: Objective,
        *,
        norms: Mapping[str, nn.Module] | None = None,
        validation: Examples | None = None,
    ) -> None:
        self.model, self.train, self.task, self.recipe, self.objective = model, train, task, recipe, objective
        self.norms, self.validation = norms, validation
        self.trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.per_epoch = math.ceil(len(train) / recipe.batch_size)
        self.monitor = ValidationMonitor(recipe.halve_after, recipe.patience, tolerance=recipe.tolerance)
        self.best: dict[str, Tensor] = {}
        self.optimizer = self._optimizer()

    def run(self) -> None:
        """Train what is left to train; a fit that continues from a checkpoint ends with the same bits."""
        with self.objective.running():
            for epoch in range(self._resume(), self.recipe.epochs):
                if self.monitor.stopped:
                    break
                task = self.task.fork("epoch", epoch)
                with global_seed(task.fork("dropout").seed, task.device):
                    metrics = {"epoch": epoch + 1, **self._epoch(epoch, task), **self._validate(epoch)}
                self.monitor.learn(metrics["loss"])
                if self.validation and self.monitor.see(metrics["validation_loss"]) and self.recipe.patience:
                    self.best = {name: value.detach().cpu().clone() for name, value in self._changing().items()}
                if self._shows(epoch) or self.monitor.stopped:
                    self.task.log(**metrics)
                    self._save(epoch)
        self._take(self.best)
        self.model.eval()

    def _shows(self, epoch: int) -> bool:
        """Tell whether an epoch is shown, logged and kept, as the last one is."""
        return (epoch + 1) % self.recipe.every == 0 or epoch + 1 == self.recipe.epochs

    def _epoch(self, epoch: int, task: Task) -> dict[str, float]:
        """Return the epoch's means: the loss that was trained on, the clean loss before it, and accuracy."""
        batches = self.train.batches(self.recipe.batch_size, task.device, task.generator("order"))
        text = f"{self.recipe.title}, epoch {epoch + 1} of {self.recipe.epochs}"
        sums, seen = torch.zeros(3, dtype=torch.float64, device=task.device), 0
        self.objective.begin(task)
        self.model.train(self.norms is None)
        shown = self.task.progress.track(batches, self.per_epoch, text) if self._shows(epoch) else batches
        for place, batch in enumerate(shown):
            count = len(batch.labels)
            if count == 1 and self.norms is None and self.per_epoch > 1:
                continue  # batch norm has no variance of one image
            clean_loss = self._clean_loss(batch)
            images = self.objective.craft(batch, task)
            loss, correct = self._update(images, batch, epoch * self.per_epoch + place)
            sums += torch.stack([loss * count, clean_loss * count, correct])
            seen += count
        self.model.eval()
        loss_mean, clean_mean, accuracy = (sums / seen).tolist()
        if not math.isfinite(loss_mean):
            raise SpecError(
                f"{self.recipe.name} diverged: its loss was {loss_mean} in epoch {epoch + 1}; "
                f"lower learning_rate (now {self.recipe.learning_rate:g})."
            )
        clean = {"clean_loss": clean_mean} if self.objective.compares_clean else {}
        return {"loss": loss_mean, **clean, self.objective.accuracy: accuracy}

    def _clean_loss(self, batch: Batch) -> Tensor:
        if not self.objective.compares_clean:
            return torch.zeros((), device=batch.images.device)
        with under_attack(self.model), torch.no_grad():
            return self.objective.loss(batch.images, batch)[0]

    def _update(self, images: Tensor, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Take one optimizer step; return its loss and the number of images that were right."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(step)
        with self._updating(len(images)):
            loss, answers = self.objective.loss(images, batch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        return loss.detach(), (answers.argmax(1) == batch.labels).sum()

    def _updating(self, images: int) -> AbstractContextManager[None]:
        """Return the modes of an update: the epoch's own where the whole model is trained."""
        if self.norms is None:
            return nullcontext()
        # A single image has no variance to gather.
        return under_training(self.model, self.norms.values() if images > 1 else ())

    @torch.no_grad()
    def _validate(self, epoch: int) -> dict[str, float]:
        """Return the mean loss and accuracy on the validation images, if there are any, and the rate of the epoch."""
        if self.validation is None:
            return {}
        rate = {"learning_rate": self._rate(epoch * self.per_epoch)}
        if not len(self.validation):
            return rate
        loss, correct = 0.0, 0
        for images, labels, _ in self.validation.batches(self.recipe.batch_size, self.task.device):
            logits = self.model(images)
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            correct += int((logits.argmax(1) == labels).sum())
        count = len(self.validation)
        return {"validation_loss": loss / count, "validation_accuracy": correct / count, **rate}

    def _rate(self, step: int) -> float:
        """Return the learning rate of update ``step``, the halvings so far included."""
        peak = self.recipe.learning_rate
        rate = max(peak * 0.5**self.monitor.halvings, min(self.recipe.lowest_rate, peak))
        return rate * self.recipe.factor(step, self.recipe.epochs * self.per_epoch)

    def _optimizer(self) -> torch.optim.Optimizer:
        recipe, trained = self.recipe, list(self.trained.values())
        if recipe.optimizer == "sgd":
            return torch.optim.SGD(
                trained, lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
            )
        kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
        return kind(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)

    def _save(self, epoch: int) -> None:
        state = {
            "epochs": epoch + 1,
            "tensors": {name: value.detach().cpu() for name, value in self._changing().items()},
            "best": self.best,
            "monitor": asdict(self.monitor),
            "optimizer": self.optimizer.state_dict(),
        }
        self.task.checkpoint.save(state)

    def _resume(self) -> int:
        """Return how many epochs are done, having taken over what the checkpoint kept of them."""
        state: Any = self.task.checkpoint.load()
        if state is None:
            return 0
        self._take(state["tensors"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.monitor = state["best"], ValidationMonitor(**state["monitor"])
        epochs: int = state["epochs"]
        return epochs

    def _changing(self) -> dict[str, Tensor]:
        """Return what training changes: trained parameters, and the statistics that batch norms gather."""
        if self.norms is None:
            return {**self.trained, **dict(self.model.named_buffers())}
        gathered = {
            f"{name}.{buffer}": value for name, norm in self.norms.items() for buffer, value in norm.named_buffers()
        }
        return {**self.trained, **gathered}

    @torch.no_grad()
    def _take(self, tensors: Mapping[str, Tensor]) -> None:
        changing = self._changing()
        for name, value in tensors.items():
            changing[name].copy_(value)
