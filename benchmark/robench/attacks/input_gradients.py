"""Input gradients that an attack may follow."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from robench.contracts.classifier import input_gradient
from robench.errors import require


def finite_gradient(loss: Callable[..., Tensor], images: Tensor, *along: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``(values, gradient)`` as :func:`robench.input_gradient` does; ContractError if one is not finite.

    Attacks that keep their best iterate would step over a NaN in silence, and call the image robust.
    """
    values, gradient = input_gradient(loss, images, *along)
    if bool(gradient.isfinite().all()):
        return values, gradient
    lost = int((~gradient.isfinite()).flatten(1).any(1).sum())
    require(
        not lost,
        f"The model's gradient is NaN or infinite on {lost} of {len(images)} images: no attack can follow it, so a "
        "survivor would mean nothing. Look for a division by zero or a root of zero in the model's forward.",
    )
    return values, gradient
