"""Inception-v3 without its ImageNet weights."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from robench import Task, parameter
from robench_builtins.models.shared.from_scratch import UntilPlateau, widths

if TYPE_CHECKING:
    from torch import nn

    from robench_builtins.models.shared.checkpoint_layouts import State


class InceptionV3(UntilPlateau):
    """Build torchvision's Inception-v3 for the dataset's classes, at 299 x 299 or smaller, to be trained on it.

    Without the auxiliary classifier, whose weights in a file are left out; 21,806,058 parameters for ten classes, and
    22,839,786 with ``hidden=512``, as report 001 builds it (22,857,002 in Keras, which counts running means and
    variances, and whose batch norms have no scale).
    Published ImageNet weights are ``torchvision:inception_v3``.
    """

    name = "inception-v3"
    source = "Szegedy et al., Rethinking the Inception Architecture for Computer Vision (CVPR 2016), as in torchvision."
    licence = "BSD-3-Clause (torchvision's code; no weights come with it)"

    size: int = parameter(default=299, help="side in pixels to which images are resized", minimum=75)
    hidden: str = parameter(
        default="", later=True, help="widths of hidden layers before the last one, such as 512; empty: none"
    )
    head_dropout: float = parameter(
        default=0.0, later=True, help="dropout behind each of them, in training", minimum=0, maximum=0.9
    )
    batch_size: int = parameter(default=32, help="training: images per update", minimum=2)

    def network(self, task: Task) -> nn.Module:
        """Return torchvision's network, its weights drawn as in the paper's code."""
        from torch import nn
        from torchvision.models import Inception3

        network = Inception3(num_classes=len(task.classes), aux_logits=False, init_weights=True)
        sizes = [network.fc.in_features, *widths("inception-v3.hidden", self.hidden)]
        if len(sizes) > 1:
            parts: list[nn.Module] = []
            for inputs, outputs in pairwise(sizes):
                parts += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(self.head_dropout)]
            network.fc = nn.Sequential(*parts, nn.Linear(sizes[-1], len(task.classes)))
        found: nn.Module = network
        return found

    def read(self) -> State:
        """Return the file's tensors without those of the auxiliary classifier."""
        return super().read().without("AuxLogits.")
