"""Compile a network for batches of any size, in a few graphs."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AnyBatch(nn.Module):
    """Run a network through torch.compile: graphs for answers and for gradients, of any number of images.

    Left alone, torch compiles for the size of the first batch, again for the second, and again for one image alone,
    and each graph takes a minute; a batch that images leave as they fall has many sizes.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.compiled = torch.compile(network)

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's answers (N, ...)."""
        alone = len(images) == 1
        if alone:  # twice, the second time without a gradient, and its answer is dropped
            images = torch.cat([images, images.detach()])
        torch._dynamo.maybe_mark_dynamic(images, 0)
        answers: Tensor = self.compiled(images)
        return answers[:1] if alone else answers


def in_short(error: Exception) -> str:
    """Return what torch says about why it could not compile, without its advice on how to debug it."""
    said = str(error).split("\n\n")[0].removeprefix("backend='inductor' raised:")
    return " ".join(said.split()).rstrip(".")[:200] or type(error).__name__
