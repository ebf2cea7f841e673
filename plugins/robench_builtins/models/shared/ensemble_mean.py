"""The mean of several classifiers, as a network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robench import Classifier


class EnsembleMean(nn.Module):
    """Average what classifiers of the same classes answer.

    Args:
        members: take images in [0, 1], each with its own preprocessing inside.
        probabilities: average the probabilities and return their logarithm; else the logits.
    """

    def __init__(self, members: Sequence[Classifier], probabilities: bool) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.probabilities = probabilities

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, classes) logits whose softmax is the mean's."""
        logits = torch.stack([member(images) for member in self.members])
        if not self.probabilities:
            return logits.mean(0)
        # In logarithms throughout: a probability of 1e-50 is 0 in float32, and its gradient gone.
        return logits.log_softmax(2).logsumexp(0) - math.log(len(logits))
