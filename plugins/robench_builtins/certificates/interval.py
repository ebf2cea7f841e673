"""Interval bounds: the cheapest certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import Certificate

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task


class Interval(Certificate):
    """Bound the label's lead over each other class by the intervals that each layer makes of the ball.

    [l, u] -> W (l + u) / 2 + b -+ |W| (u - l) / 2  for a linear layer,  [max(l, 0), max(u, 0)]  for a ReLU

    The last layer is merged with the difference of two logits. It is computed in float64 and never wrong, and loose
    unless the network was trained for it; ``crown`` certifies more. It knows the same chains of layers.
    """

    name = "interval"
    source = (
        "Gowal et al. 2018, On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust Models, "
        "https://arxiv.org/abs/1810.12715"
    )

    def certify(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return for which images every lower bound is above 0."""
        from robench import certified

        return certified(model, images, labels, task.threat, "interval")
