"""The answer that comes most often under Gaussian noise, and a gradient for it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench import Classifier


class Voting(Classifier):
    """Let a classifier vote on noisy copies of each image; ``network`` is the classifier.

    The logits are log(v_k + p_k / 2 + 1/4) for v_k votes of class k and its mean softmax probability p_k, which decides
    between equal votes and nothing else. Backward they are log p_k (Salman et al. 2019, equation 5): a vote has no
    slope.

    Args:
        base: the classifier that votes; images that the noise takes out of [0, 1] are clamped before it.
        sigma: standard deviation of the noise in pixel units.
        votes: copies.
    """

    def __init__(self, base: Classifier, sigma: float, votes: int) -> None:
        super().__init__(base, base.classes)
        self.sigma = sigma
        self.votes = votes

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, K); noise comes from the global generator."""
        drawn = [self.answers(images, torch.randn_like(images)) for _ in range(self.votes)]
        cast = torch.stack([F.one_hot(logits.argmax(1), self.classes) for logits in drawn]).sum(0)
        relaxed = torch.stack([logits.log_softmax(1) for logits in drawn]).logsumexp(0) - math.log(self.votes)
        exact = (cast + relaxed.exp() / 2 + 0.25).log()
        return relaxed + (exact - relaxed).detach()

    def answers(self, images: Tensor, noise: Tensor) -> Tensor:
        """Return the base's logits (N, K) on images under ``sigma`` times this noise."""
        logits: Tensor = self.network((images + self.sigma * noise).clamp(0, 1))
        return logits
