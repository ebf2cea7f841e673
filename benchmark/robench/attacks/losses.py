"""The losses that reference attacks climb, each per image and each saying what a logit scale does to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench.errors import SpecError

Loss = Literal["ce", "ce-scaled", "dlr", "dlr-targeted", "margin"]

#: Fewest classes for which a loss is defined: the denominators of DLR take the third and fourth largest logit.
FEWEST_CLASSES: dict[Loss, int] = {"ce": 2, "ce-scaled": 2, "margin": 2, "dlr": 3, "dlr-targeted": 4}

#: Range of a row of logits beyond which ``ce-scaled`` divides it: exp(-10) is 5e-5, still far from float32's end.
SOFT_RANGE = 10.0

_TINY = 1e-12


def check_loss(loss: Loss, classes: int) -> None:
    """Raise SpecError if ``loss`` needs more classes than there are."""
    fewest = FEWEST_CLASSES[loss]
    if classes < fewest:
        raise SpecError(
            f"The loss '{loss}' is defined from {fewest} classes on, and this model has {classes}; choose the loss "
            "'margin', which needs 2 and is as indifferent to the scale of the logits."
        )


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return CE(logits, labels), shape (N,), at the model's own temperature.

    Logits that lie more than about 100 apart leave it a gradient of exactly zero in float32.
    """
    return F.cross_entropy(logits, labels, reduction="none")


def scaled_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return CE(logits / s, labels), shape (N,), with s = max(1, (max - min of the row) / 10) held constant.

    The temperature is the model's own as long as its softmax is soft; a saturated one is brought back to a range
    of 10, so that the gradient survives a logit scale of 1e4.
    """
    rows = logits.detach()
    scale = ((rows.amax(1) - rows.amin(1)) / SOFT_RANGE).clamp_min(1.0)
    return F.cross_entropy(logits / scale[:, None], labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return max over i != y of z_i, minus z_y, shape (N,): positive once the model errs.

    A logit scale scales it and its gradient, which changes neither the direction nor the order of iterates.
    """
    return _best_other(logits, labels) - _at(logits, labels)


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the difference of logits ratio, shape (N,): the margin over z_(1) - z_(3), the sorted logits.

    Croce and Hein 2020, equation 6. Invariant to shift and scale of the logits; 3 classes at least.
    """
    top = logits.topk(3, dim=1).values
    return margin(logits, labels) / (top[:, 0] - top[:, 2] + _TINY)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Return (z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2), shape (N,), for target classes t.

    Croce and Hein 2020, equation 7. Invariant to shift and scale of the logits; 4 classes at least.
    """
    top = logits.topk(4, dim=1).values
    spread = top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + _TINY
    return (_at(logits, targets) - _at(logits, labels)) / spread


def likeliest_wrong(logits: Tensor, labels: Tensor, rank: int) -> Tensor:
    """Return the class of the ``rank``-th largest logit (from 1) among those that are not the label, shape (N,)."""
    others = logits.scatter(1, labels[:, None], -float("inf"))
    return others.argsort(dim=1, descending=True, stable=True)[:, rank - 1]


def ranks_of(targets: int | tuple[int, ...], classes: int) -> tuple[int, ...]:
    """Return the ranks of wrong classes to aim at: ``targets`` itself, or 1 to ``targets``; never more than exist."""
    wanted = range(1, targets + 1) if isinstance(targets, int) else targets
    return tuple(rank for rank in wanted if rank < classes)


_UNTARGETED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ce": cross_entropy,
    "ce-scaled": scaled_cross_entropy,
    "dlr": dlr,
    "margin": margin,
}


def evaluate(loss: Loss, logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Return the values (N,) of the loss of that name; only ``dlr-targeted`` looks at ``targets``."""
    if loss == "dlr-targeted":
        return targeted_dlr(logits, labels, targets)
    return _UNTARGETED[loss](logits, labels)


def _at(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None]).squeeze(1)


def _best_other(logits: Tensor, labels: Tensor) -> Tensor:
    # max, not amax: its gradient goes to one of several equal logits instead of being shared among them.
    return logits.scatter(1, labels[:, None], -float("inf")).max(1).values
