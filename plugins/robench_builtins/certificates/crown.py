"""CROWN: linear bounds of each layer, carried back to the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import Certificate, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task


class CROWN(Certificate):
    """Bound the label's lead over each other class by linear functions of the image.

    f_y(x) - f_k(x) >= A x + b  over the ball and the box, each ReLU between the lines of slope u / (u - l) and 0 or 1

    An image is certified where that is above 0 for every other class k. It is computed in float64 and never wrong, but
    loose: what it does not certify may stand too. It knows chains of Linear, Conv2d, ReLU, BatchNorm, AvgPool2d and
    Flatten, normalised at most. ``intermediate=interval`` (CROWN-IBP) is many times cheaper and looser, and what wide
    layers want.
    """

    name = "crown"
    source = (
        "Zhang et al. 2018, Efficient Neural Network Robustness Certification with General Activation Functions, "
        "https://arxiv.org/abs/1811.00866; CROWN-IBP: Zhang et al. 2020, https://arxiv.org/abs/1906.06316"
    )

    intermediate: Literal["crown", "interval"] = parameter(
        default="crown", help="how what enters each ReLU is bounded: the same way, or by intervals (CROWN-IBP)"
    )

    def certify(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return for which images every lower bound is above 0."""
        from robench import certified

        method: Literal["crown", "crown-ibp"] = "crown" if self.intermediate == "crown" else "crown-ibp"
        return certified(model, images, labels, task.threat, method)
