"""The simplest classifiers: a linear map, and a multi-layer perceptron."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from robench import SpecError, Task, parameter
from robench_builtins.models.shared.from_scratch import FromScratch, widths

if TYPE_CHECKING:
    from torch import nn

#: More weights than this in one layer are a mistake: someone forgot to make the images smaller.
MOST = 100_000_000


class Linear(FromScratch):
    """Classify by one linear map of the pixels: softmax regression."""

    name = "linear"
    source = "Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.4: multiclass logistic regression."

    #: At the defaults, a rate of 0.1, TRADES ends at 59 % of the 200 validation digits; at this one at 97.5 %.
    tuning = {"trades": {"learning_rate": 0.01}}

    epochs: int = parameter(default=20, help="training: passes over the training images", minimum=1)
    batch_size: int = parameter(default=512, help="training: images per update", minimum=2)
    optimizer: Literal["adamw", "adam", "sgd"] = parameter(default="adam", help="training: update rule")
    learning_rate: float = parameter(default=1e-2, help="training: learning rate at the start", minimum=0)
    weight_decay: float = parameter(default=0.0, help="training: weight decay", minimum=0)
    size: int | None = parameter(
        default=None, help="side in pixels to which images are resized first; none: as they are", minimum=1
    )

    def layers(self) -> list[int]:
        """Return the widths of the hidden layers."""
        return []

    def network(self, task: Task) -> nn.Module:
        """Return the layers over the pixels, flattened; images keep their [0, 1]."""
        from torch import nn

        shape = (task.shape[0], self.size, self.size) if self.size else task.shape
        sizes = [math.prod(shape), *self.layers(), len(task.classes)]
        if sizes[0] * sizes[1] > MOST:
            raise SpecError(
                f"{self.name} would have {sizes[0] * sizes[1]:,} weights in its first layer; make the images smaller "
                "with -p victim.size=32, or choose a convolutional network."
            )
        parts: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(sizes[:-1]):
            parts += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*parts, nn.Linear(sizes[-2], sizes[-1]))

    def preprocess(self, task: Task) -> nn.Module | None:
        """Resize, where that is asked for."""
        from robench import Preprocess

        return Preprocess((0.0,), (1.0,), self.size) if self.size else None


class Mlp(Linear):
    """Classify by a multi-layer perceptron on the pixels, with ReLU between layers.

    On MNIST ``hidden=32,16`` has 25,818 parameters and ``hidden=1024,1024`` has 1,863,690.
    """

    name = "mlp"
    source = "Goodfellow, Bengio and Courville, Deep Learning (2016), chapter 6: multi-layer perceptron."

    #: At their defaults these end at 18, 10 and 20 % of the 200 validation digits; at this rate at 93, 65 and 94 %.
    tuning = {defense: {"learning_rate": 0.01} for defense in ("pgd-at", "trades", "fgsm-at")}

    hidden: str = parameter(default="32,16", help="widths of the hidden layers, such as 1024,1024")

    def layers(self) -> list[int]:
        """Return the widths of the hidden layers."""
        return widths("mlp.hidden", self.hidden)
