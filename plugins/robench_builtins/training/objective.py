"""What is minimised on which images: the part in which trainings differ."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from torch import Tensor

from robench import Batch, Classifier, Task


class Objective:
    """Say what one kind of training makes of its images, and what it minimises on them.

    Args:
        model: the model in training, on its device.
    """

    #: What the curves call the accuracy on the images of the updates.
    accuracy = "adversarial_accuracy"
    #: Whether the curves also hold the loss on the clean images, before each update.
    compares_clean = True

    def __init__(self, model: Classifier) -> None:
        self.model = model

    def running(self) -> AbstractContextManager[None]:
        """Return what holds during the whole fit."""
        return nullcontext()

    def begin(self, task: Task) -> None:
        """Prepare for the epoch whose randomness ``task`` holds."""

    def craft(self, batch: Batch, task: Task) -> Tensor:
        """Return the batch's training images (N, C, H, W); no parameter receives a gradient from it."""
        raise NotImplementedError

    def loss(self, images: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean loss of ``images``, crafted from ``batch``, and what the model answers to them (N, K)."""
        raise NotImplementedError
