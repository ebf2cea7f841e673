"""score: what the defended victim answers, image by image."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robench.contracts.adaptive import drawing
from robench.contracts.classifier import Classifier, check_logits
from robench.contracts.examples import Batch
from robench.contracts.task import Task
from robench.evidence.artifact_folder import Artifact
from robench.evidence.card import Cost
from robench.evidence.image_signatures import SIDE, KnownSignatures
from robench.evidence.meter import Meter
from robench.evidence.store import Store
from robench.runtime.out_of_memory import retry_in_halves

_LOG = logging.getLogger(__name__)

KIND = "outcomes"


@dataclass(frozen=True)
class Outcomes:
    """Hold per-image answers, aligned with the test set.

    Attributes:
        predictions: int64 (N,), the class with the highest logit.
        confidence: float32 (N,), its softmax probability.
        top5: bool (N,), the label is among the five highest logits.
        labels: int64 (N,).
        hits: int64 (N,), in how many of ``draws`` forwards the label had the highest logit.
        hashes: int64 (N,), a hash of each image, so that duplicates can be counted; of clean images only.
        thumbnails: uint8 (N, 64), so that near duplicates can; likewise.
        draws: forwards an answer rests on: 1, or as many as a randomized defense states. ``predictions``,
            ``confidence`` and ``top5`` are then those of the mean logits.
    """

    key: str
    predictions: Tensor
    confidence: Tensor
    top5: Tensor
    labels: Tensor
    hits: Tensor
    draws: int
    cost: Cost
    hashes: Tensor | None = None
    thumbnails: Tensor | None = None

    @property
    def correct(self) -> Tensor:
        """Return bool (N,): the label won, in more than half of the draws."""
        return 2 * self.hits > self.draws

    @property
    def mean(self) -> float:
        """Return the accuracy in [0, 1], over all images and draws."""
        return int(self.hits.sum()) / (len(self.hits) * self.draws)


def right_of(artifact: Artifact) -> Tensor:
    """Return bool (N,) of stored answers: the label won, in more than half of the draws."""
    return 2 * artifact.tensors()["hits"] > int(artifact.meta["draws"])


def score(
    model: Classifier,
    batches: Iterable[Batch],
    labels: Tensor,
    task: Task,
    store: Store,
    key: str,
    text: str,
    draws: int = 1,
    *,
    of: KnownSignatures | str,
) -> Outcomes:
    """Return the answers on ``batches``: from the store if they are there, else computed and stored.

    Args:
        model: what answers; a randomized one is asked ``draws`` times.
        batches: the images.
        labels: (N,) true classes.
        task: carries seed, device and progress.
        store: where the outcomes are kept.
        key: their fingerprint.
        text: what the progress shows.
        draws: forwards per image.
        of: takes the signatures of clean images; of adversarial ones their set's fingerprint, which says what they are.
    """
    with store.lock(KIND, key):
        artifact = store.get(KIND, key)
        _LOG.info("%s: %s", text, "in the store" if artifact else "is computed")
        if artifact is None:
            artifact = _score(model, batches, labels, task, store, key, text, draws, of)
    kept, cost = artifact.tensors(), Cost(**artifact.meta["meter"])
    return Outcomes(key=key, **kept, draws=draws, cost=cost)


def _score(
    model: Classifier,
    batches: Iterable[Batch],
    labels: Tensor,
    task: Task,
    store: Store,
    key: str,
    text: str,
    draws: int,
    of: KnownSignatures | str,
) -> Artifact:
    n = len(labels)
    meter = Meter(device=task.device)
    result = {
        "labels": labels,
        "predictions": torch.empty(n, dtype=torch.int64),
        "confidence": torch.empty(n),
        "top5": torch.empty(n, dtype=torch.bool),
        "hits": torch.zeros(n, dtype=torch.int64),
    }
    if isinstance(of, KnownSignatures):
        result["hashes"] = torch.empty(n, dtype=torch.int64)
        result["thumbnails"] = torch.empty(n, SIDE * SIDE, dtype=torch.uint8)

    def forward(images: Tensor, labels: Tensor, places: Sequence[int]) -> Tensor:
        total, hits = torch.zeros(()), torch.zeros(len(images), dtype=torch.int64)
        with torch.no_grad(), meter.counting(model), meter.clock(), drawing(draws > 1, task, "score", places[0]):
            for draw in range(draws):
                logits: Tensor = model(images)
                check_logits(logits, len(images), len(task.classes), "the defended victim")
                hits += (logits.argmax(1) == labels).cpu()
                total = logits if draw == 0 else total + logits
        result["hits"][list(places)] = hits
        return total / draws

    warm = False
    for batch in task.progress.track(batches, -(-n // task.batch_size), text):
        if not warm:
            with torch.no_grad():
                model(batch.images[:16])
            warm = True
        logits = retry_in_halves(forward, batch.images, batch.labels, batch.indices, task, model)
        if isinstance(of, KnownSignatures):
            seen = of.of(batch.images, batch.indices)
            result["hashes"][batch.indices], result["thumbnails"][batch.indices] = seen
        result["predictions"][batch.indices] = logits.argmax(1).cpu()
        result["confidence"][batch.indices] = logits.softmax(1).amax(1).cpu()
        best = logits.topk(min(5, logits.shape[1])).indices
        result["top5"][batch.indices] = (best == batch.labels[:, None]).any(1).cpu()
        meter.images += len(batch.images)
        meter.batch_size = max(meter.batch_size, len(batch.images))
    said = {} if isinstance(of, KnownSignatures) else {"images": of}
    return store.put(KIND, key, {"meter": meter.state(), "draws": draws, **said}, result)
