"""What a forward may not do to its caller: change the images, or leave torch's gradients switched off."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robench.contracts.classifier import Classifier
from robench.errors import require


class CopyFirst(nn.Module):
    """Hand on a copy of the images, since what follows computes in place."""

    def forward(self, images: Tensor) -> Tensor:
        """Return an equal tensor of its own memory, through which gradients pass."""
        return images.clone()


def contain_side_effects(classifier: Classifier, probe: Tensor, name: str) -> None:
    """Give a classifier that overwrites its images a copy of them; refuse what cannot be helped."""
    if _overwrites(classifier, probe):
        classifier.preprocess = nn.Sequential(CopyFirst(), classifier.preprocess)
        require(
            not _overwrites(classifier, probe),
            f"{name} overwrites the images that it is given: its forward computes in place. Copy them first: "
            "images = images.clone().",
        )
    with torch.enable_grad():
        classifier(probe.clone())
        left = torch.is_grad_enabled()
    require(
        left,
        f"{name} switches torch's gradients off in its forward and leaves them off, for everything that follows; take "
        "torch.set_grad_enabled(False) out of it.",
    )


@torch.no_grad()
def _overwrites(classifier: Classifier, probe: Tensor) -> bool:
    images = probe.clone()
    before = images._version  # torch's own count of writes; values alone would not tell that ReLU wrote
    classifier(images)
    return images._version != before
