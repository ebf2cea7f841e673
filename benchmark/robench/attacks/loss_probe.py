"""What is asked of a model while a loss is climbed, and of which images."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robench.attacks.input_gradients import finite_gradient
from robench.attacks.losses import Loss, evaluate
from robench.contracts.asked_in_parts import in_parts, whole
from robench.contracts.classifier import Classifier


class Inputs(NamedTuple):
    """Hold what stays the same of the images that are climbed: their places in the batch, pixels and classes."""

    rows: Tensor
    images: Tensor
    labels: Tensor
    targets: Tensor


class LossProbe(NamedTuple):
    """Ask the model for logits, loss and gradient, averaged over ``draws`` forwards."""

    model: Classifier
    loss: Loss
    draws: int

    def evaluate(self, at: Tensor, inputs: Inputs, need_gradient: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return (fooled, values, gradient) at ``at``; without ``need_gradient`` the gradient is zero."""
        seen: list[Tensor] = []
        asked: list[Tensor] = []  # parts of one draw

        def values(x: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
            asked.append(self.model(x))
            return evaluate(self.loss, asked[-1], labels, targets)

        def without(x: Tensor, labels: Tensor, targets: Tensor) -> tuple[Tensor]:
            return (values(x, labels, targets),)

        total, slope = at.new_zeros(len(at)), torch.zeros_like(at)
        for _ in range(self.draws):
            asked.clear()
            if need_gradient:
                found, gradient = finite_gradient(values, at, inputs.labels, inputs.targets)
                slope += gradient
            else:
                with torch.no_grad():
                    (found,) = in_parts(without, at, inputs.labels, inputs.targets)
            seen.append(whole(asked))
            total += found
        fooled = torch.stack(seen).detach().mean(0).argmax(1) != inputs.labels
        return fooled, total / self.draws, slope / self.draws


def keep(rows: tuple[Tensor, ...], places: Tensor) -> tuple[Tensor, ...]:
    """Return the rows at ``places`` of each tensor."""
    return tuple(tensor[places] for tensor in rows)
