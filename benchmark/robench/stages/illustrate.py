"""illustrate: keep a handful of images to look at, with what the model sees in them, while it is at hand.

The pictures judge nothing: their passes are in no cost, and a model whose gradient cannot be taken goes without maps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robench.classifier import Classifier, input_gradient
from robench.evidence.fingerprint import CHUNK
from robench.evidence.gallery import KIND, PICTURES, gallery_key
from robench.evidence.store import Artifact, Store
from robench.examples import Examples
from robench.task import Task, derive_seed

if TYPE_CHECKING:
    from robench.stages.craft import AdversarialSet  # the types of what is handed on, not the stages
    from robench.stages.score import Outcomes


def illustrate(
    model: Classifier,
    test: Examples,
    adversarial: AdversarialSet,
    clean: Outcomes,
    robust: Outcomes,
    task: Task,
    store: Store,
    key: str,
) -> Artifact:
    """Return the cell's gallery, from the store if it is there: images whose prediction flips, then ones that held.

    Args:
        model: the defended victim that answered.
        test: the clean test images.
        adversarial: the stored adversarial images.
        clean: the answers on the clean images.
        robust: the answers on the adversarial images.
        task: carries the seed that chooses the images, the same ones for every cell where they flip.
        store: where the gallery is kept.
        key: the cell's fingerprint.
    """
    with store.lock(KIND, gallery_key(key)):
        artifact = store.get(KIND, gallery_key(key))
        if artifact is None:
            rows = choose(clean, robust, task.seed)
            images = next(test[rows].batches(len(rows), task.device)).images
            moved = _stored(adversarial, rows).to(task.device)
            labels = test.labels[rows]
            tensors = {
                "clean": images,
                "adversarial": moved,
                "labels": labels,
                "indices": torch.tensor(rows),
                "predictions": torch.stack([clean.predictions[rows], robust.predictions[rows]], 1),
                "confidence": torch.stack([clean.confidence[rows], robust.confidence[rows]], 1),
            }
            maps, why = _saliency(model, images, moved, labels.to(task.device))
            artifact = store.put(KIND, gallery_key(key), {"no_saliency": why}, {**tensors, **maps})
    return artifact


def choose(clean: Outcomes, robust: Outcomes, seed: int) -> list[int]:
    """Return up to ``PICTURES`` positions: right ones that the attack flips first, then right ones, then any."""
    order = torch.randperm(len(clean.labels), generator=torch.Generator().manual_seed(derive_seed(seed, "gallery")))
    interest = clean.correct.int() + (clean.correct & ~robust.correct).int()
    # A stable sort keeps the seed's order among images of equal interest.
    ranked = order[interest[order].argsort(descending=True, stable=True)]
    return [int(place) for place in ranked[:PICTURES]]


def _stored(adversarial: AdversarialSet, rows: list[int]) -> Tensor:
    wanted = {row // CHUNK for row in rows}
    chunks = {place: adversarial.chunks[place].tensors()["images"] for place in wanted}
    return torch.stack([chunks[row // CHUNK][row % CHUNK] for row in rows])


def _saliency(model: Classifier, images: Tensor, moved: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], str]:
    def loss(batch: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(model(batch), labels, reduction="none")

    try:
        maps = {
            name: input_gradient(loss, batch)[1].abs().sum(1)
            for name, batch in (("saliency_clean", images), ("saliency_adversarial", moved))
        }
    except Exception as error:  # a defense may have no gradient, or raise anything; pictures must not fail a cell
        return {}, f"{type(error).__name__}: {error}"[:300]
    if not all(bool(torch.isfinite(values).all()) for values in maps.values()):
        return {}, "the gradient is not finite"
    return maps, ""
