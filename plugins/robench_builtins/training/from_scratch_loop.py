"""The loop that trains a model from scratch: augment, update, validate, log, checkpoint."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench import Batch, Classifier, Examples, SpecError, Task
from robench_builtins.datasets.shared.stratified_splits import stratified_order
from robench_builtins.models.shared.from_scratch import Supervised
from robench_builtins.training.model_modes import global_seed
from robench_builtins.training.validation_monitor import Watch


class Schooling:
    """Train every parameter of a model with cross-entropy.

    Args:
        model: the classifier, on ``task.device``.
        train: the train split; ``plan.validation`` of each class is kept apart and never trained on.
        task: seeds, progress, curves and the checkpoint.
        plan: the recipe.
    """

    def __init__(self, model: Classifier, train: Examples, task: Task, plan: Supervised) -> None:
        self.model, self.task, self.plan = model, task, plan
        self.train, self.validation = kept_apart(train, plan.validation, task)
        self.per_epoch = math.ceil(len(self.train) / plan.batch_size)
        self.watch = Watch(plan.halve_after if plan.schedule == "plateau" else 0, plan.patience)
        self.best: dict[str, Tensor] = {}
        self.optimizer = self._optimizer()

    def run(self) -> None:
        """Train what is left to train; a run that continues from a checkpoint ends with the same bits."""
        for epoch in range(self._resume(), self.plan.epochs):
            if self.watch.stopped:
                break
            task = self.task.fork("epoch", epoch)
            with global_seed(task.fork("dropout").seed, task.device):
                metrics = {"epoch": epoch + 1, **self._epoch(epoch, task), **self._validate()}
            self.task.log(**metrics, learning_rate=self._rate(epoch * self.per_epoch))
            if len(self.validation) and self.watch.see(metrics["validation_loss"]) and self.plan.patience:
                self.best = self._state()
            self._save(epoch)
        if self.best:
            self.model.load_state_dict(self.best)
        self.model.eval()

    def _epoch(self, epoch: int, task: Task) -> dict[str, float]:
        """Return the mean loss and accuracy on the epoch's images, as they were trained on."""
        batches = self.train.batches(self.plan.batch_size, task.device, task.generator("order"))
        chance = task.generator("augmentation")
        text = f"train {self.plan.name}, epoch {epoch + 1} of {self.plan.epochs}"
        sums = torch.zeros(3, dtype=torch.float64, device=task.device)
        self.model.train()
        for place, batch in enumerate(self.task.progress.track(batches, self.per_epoch, text)):
            if len(batch.labels) == 1 and self.per_epoch > 1:
                continue  # batch norm has no variance of one image
            images = augment(batch.images, self.plan.augmentation, chance)
            sums += self._update(images, batch, epoch * self.per_epoch + place)
        self.model.eval()
        loss, correct, count = sums.tolist()
        if not math.isfinite(loss):
            raise SpecError(
                f"{self.plan.name} diverged: its loss was {loss / count} in epoch {epoch + 1}; "
                f"lower learning_rate (now {self.plan.learning_rate:g})."
            )
        return {"loss": loss / count, "accuracy": correct / count}

    def _update(self, images: Tensor, batch: Batch, step: int) -> Tensor:
        """Take one optimizer step; return the sums of loss and of right answers, and the number of images."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(step)
        logits = self.model(images)
        loss = F.cross_entropy(logits, batch.labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        count = loss.new_tensor(len(images))
        return torch.stack([loss.detach() * count, (logits.argmax(1) == batch.labels).sum(), count]).double()

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Return the mean loss and accuracy on the validation images, if there are any."""
        if not len(self.validation):
            return {}
        loss, correct = 0.0, 0
        for images, labels, _ in self.validation.batches(self.plan.batch_size, self.task.device):
            logits = self.model(images)
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            correct += int((logits.argmax(1) == labels).sum())
        return {"validation_loss": loss / len(self.validation), "validation_accuracy": correct / len(self.validation)}

    def _rate(self, step: int) -> float:
        """Return the learning rate of update ``step``, the halvings so far included."""
        rate = self.plan.learning_rate * 0.5**self.watch.halvings
        if self.plan.schedule != "cosine":
            return rate
        return rate * (1 + math.cos(math.pi * step / (self.plan.epochs * self.per_epoch))) / 2

    def _optimizer(self) -> torch.optim.Optimizer:
        plan = self.plan
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        if plan.optimizer == "sgd":
            return torch.optim.SGD(
                trained, lr=plan.learning_rate, momentum=plan.momentum, weight_decay=plan.weight_decay
            )
        kind = torch.optim.Adam if plan.optimizer == "adam" else torch.optim.AdamW
        return kind(trained, lr=plan.learning_rate, weight_decay=plan.weight_decay)

    def _state(self) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}

    def _save(self, epoch: int) -> None:
        state = {
            "epochs": epoch + 1,
            "weights": self._state(),
            "best": self.best,
            "watch": asdict(self.watch),
            "optimizer": self.optimizer.state_dict(),
        }
        self.task.checkpoint.save(state)

    def _resume(self) -> int:
        """Return how many epochs are done, having taken over what the checkpoint kept of them."""
        state: Any = self.task.checkpoint.load()
        if state is None:
            return 0
        self.model.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.watch = state["best"], Watch(**state["watch"])
        epochs: int = state["epochs"]
        return epochs


def kept_apart(train: Examples, share: float, task: Task) -> tuple[Examples, Examples]:
    """Return the images to train on and those to validate on, stratified, drawn from the task's seed."""
    order = stratified_order(train.labels.tolist(), task.fork("validation").seed)
    count = round(share * len(train))
    if share and not 0 < count < len(train):
        raise SpecError(
            f"validation={share:g} of {len(train)} training images leaves none on one side; give more images, or "
            "validation=0."
        )
    return train[sorted(order[count:])], train[sorted(order[:count])]


def augment(images: Tensor, how: str, chance: torch.Generator) -> Tensor:
    """Return ``images`` (N, C, H, W), each mirrored or not and, for crop+flip, shifted; ``chance`` is on the CPU."""
    if how == "none":
        return images
    mirrored = torch.rand(len(images), generator=chance) < 0.5
    images = torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(3), images)
    if how == "flip":
        return images
    height, width = images.shape[2:]
    rows, columns = height // 8, width // 8
    padded = F.pad(images, (columns, columns, rows, rows))
    tops = torch.randint(0, 2 * rows + 1, (len(images),), generator=chance).tolist()
    lefts = torch.randint(0, 2 * columns + 1, (len(images),), generator=chance).tolist()
    return torch.stack(
        [
            image[:, top : top + height, left : left + width]
            for image, top, left in zip(padded, tops, lefts, strict=True)
        ]
    )
