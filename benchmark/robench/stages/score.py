"""score: what the defended victim answers, image by image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robench.classifier import Classifier, check_logits
from robench.evidence.card import Cost
from robench.evidence.meter import Meter
from robench.evidence.store import Artifact, Store
from robench.examples import Batch
from robench.halving import halving
from robench.task import Task

KIND = "outcomes"


@dataclass(frozen=True)
class Outcomes:
    """Hold per-image answers, aligned with the test set.

    Attributes:
        predictions: int64 (N,), the class with the highest logit.
        confidence: float32 (N,), its softmax probability.
        top5: bool (N,), the label is among the five highest logits.
        labels: int64 (N,).
    """

    key: str
    predictions: Tensor
    confidence: Tensor
    top5: Tensor
    labels: Tensor
    cost: Cost

    @property
    def correct(self) -> Tensor:
        """Return bool (N,)."""
        return self.predictions == self.labels


def score(
    model: Classifier, batches: Iterable[Batch], labels: Tensor, task: Task, store: Store, key: str, text: str
) -> Outcomes:
    """Return the answers on ``batches``: from the store if they are there, else computed and stored."""
    with store.lock(KIND, key):
        artifact = store.get(KIND, key)
        if artifact is None:
            artifact = _score(model, batches, labels, task, store, key, text)
    kept = artifact.tensors()
    cost = Cost(**artifact.meta["meter"])
    return Outcomes(key, kept["predictions"], kept["confidence"], kept["top5"], labels, cost)


def _score(
    model: Classifier, batches: Iterable[Batch], labels: Tensor, task: Task, store: Store, key: str, text: str
) -> Artifact:
    n = len(labels)
    meter = Meter(device=task.device)
    result = {
        "labels": labels,
        "predictions": torch.empty(n, dtype=torch.int64),
        "confidence": torch.empty(n),
        "top5": torch.empty(n, dtype=torch.bool),
    }

    def forward(images: Tensor, _labels: Tensor, _places: Sequence[int]) -> Tensor:
        with torch.no_grad(), meter.counting(model), meter.clock():
            return model(images)  # type: ignore[no-any-return]  # nn.Module's call is untyped

    warm = False
    for batch in task.progress.track(batches, -(-n // task.batch_size), text):
        if not warm:
            with torch.no_grad():
                model(batch.images[:16])
            warm = True
        logits = halving(forward, batch.images, batch.labels, batch.indices, task)
        check_logits(logits, len(batch.images), len(task.classes), "the defended victim")
        result["predictions"][batch.indices] = logits.argmax(1).cpu()
        result["confidence"][batch.indices] = logits.softmax(1).amax(1).cpu()
        best = logits.topk(min(5, logits.shape[1])).indices
        result["top5"][batch.indices] = (best == batch.labels[:, None]).any(1).cpu()
        meter.images += len(batch.images)
        meter.batch_size = max(meter.batch_size, len(batch.images))
    return store.put(KIND, key, {"meter": meter.state()}, result)
