"""Inception-v3 without its ImageNet weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import Task, parameter
from robench_builtins.models.shared.from_scratch import UntilPlateau

if TYPE_CHECKING:
    from torch import nn


class InceptionV3(UntilPlateau):
    """Build torchvision's Inception-v3 for the dataset's classes, at 299 x 299 or smaller, to be trained on it.

    Without the auxiliary classifier, whose weights in a file are left out; 21,806,058 parameters for ten classes.
    Published ImageNet weights are ``torchvision:inception_v3``.
    """

    name = "inception-v3"
    source = "Szegedy et al., Rethinking the Inception Architecture for Computer Vision (CVPR 2016), as in torchvision."
    licence = "BSD-3-Clause (torchvision's code; no weights come with it)"

    size: int = parameter(default=299, help="side in pixels to which images are resized", minimum=75)
    batch_size: int = parameter(default=32, help="training: images per update", minimum=2)

    def network(self, task: Task) -> nn.Module:
        """Return torchvision's network, its weights drawn as in the paper's code."""
        from torchvision.models import Inception3

        network: nn.Module = Inception3(num_classes=len(task.classes), aux_logits=False, init_weights=True)
        return network

    def read(self) -> dict[str, object]:
        """Return the file's tensors without those of the auxiliary classifier."""
        return {name: tensor for name, tensor in super().read().items() if not name.startswith("AuxLogits.")}
