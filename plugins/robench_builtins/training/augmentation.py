"""The loss on images that are mirrored and shifted: what a model from scratch minimises."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench import Batch, Classifier, Task
from robench_builtins.training.objective import Objective


class AugmentedLoss(Objective):
    """Minimise CE(f(x), y), or the mean squared difference between f(x) and one-hot y, on augmented images.

    Args:
        model: the model in training.
        how: the augmentation, as :func:`augment` takes it.
        kind: ``cross-entropy`` or ``mse``.
    """

    accuracy = "accuracy"
    compares_clean = False

    def __init__(self, model: Classifier, how: str, kind: str = "cross-entropy") -> None:
        super().__init__(model)
        self.how, self.kind, self.generator = how, kind, torch.Generator()

    def begin(self, task: Task) -> None:
        """Draw this epoch's augmentation from its own generator, batch after batch."""
        self.generator = task.generator("augmentation")

    def craft(self, batch: Batch, task: Task) -> Tensor:
        """Return the batch's images, augmented."""
        return augment(batch.images, self.how, self.generator)

    def loss(self, images: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss and the logits."""
        logits = self.model(images)
        if self.kind == "mse":
            return F.mse_loss(logits, F.one_hot(batch.labels, logits.shape[1]).to(logits.dtype)), logits
        return F.cross_entropy(logits, batch.labels), logits


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
