"""A small convolutional network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import SpecError, Task, parameter
from robench_builtins.models.shared.from_scratch import FromScratch, widths

if TYPE_CHECKING:
    from torch import nn


class SmallCnn(FromScratch):
    """Classify by 3 x 3 convolutions with ReLU, each but the first of stride 2, and a linear map of 4 x 4 fields.

    With its three convolutions and ten classes it has 113,738 parameters; it takes images of any size, grey or in
    colour.
    """

    name = "small-cnn"
    source = (
        "robench's own, after the all convolutional net of Springenberg et al., Striving for Simplicity (ICLR 2015 "
        "workshop)."
    )

    channels: str = parameter(default="32,64,128", help="output channels of the convolutions")

    def network(self, task: Task) -> nn.Module:
        """Return the convolutions, the means of 4 x 4 fields and a linear map."""
        from torch import nn

        from robench_builtins.models.shared.average_pooling import GridMean

        outputs = widths("small-cnn.channels", self.channels)
        if not outputs:
            raise SpecError("small-cnn.channels is empty; give one or more numbers, such as 32,64,128.")
        parts: list[nn.Module] = []
        for place, (before, after) in enumerate(zip([3, *outputs], outputs, strict=False)):
            parts += [nn.Conv2d(before, after, 3, stride=2 if place else 1, padding=1), nn.ReLU()]
        return nn.Sequential(*parts, GridMean(4), nn.Flatten(), nn.Linear(16 * outputs[-1], len(task.classes)))

    def preprocess(self, task: Task) -> nn.Module:
        """Bring [0, 1] to [-1, 1]; one channel becomes three."""
        from robench import Preprocess

        return Preprocess((0.5,) * 3, (0.5,) * 3)
