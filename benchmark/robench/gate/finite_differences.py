"""Slopes measured from answers, held against the gradient that a model claims."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from robench.contracts.module_copy import copy_module
from robench.runtime.out_of_memory import is_out_of_memory

#: Largest disagreement with finite differences, relative to the gradient's length.
DISAGREEMENT = 0.1
#: Disagreement that is rounding where a model computes in low precision, as a multiple of how far its answers are from
#: those in float64, and the most that is ever put down to it.
ROUNDING, MOST_ROUNDING = 10, 0.5
#: Step of the finite differences in float64, and where a model only computes in float32.
STEP, COARSE_STEP = 1e-6, 2e-3


def margin_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Return by how much the label's logit leads (N,); below 0 the image is lost."""
    own = logits.gather(1, labels[:, None]).squeeze(1)
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


def contradicted(model: nn.Module, images: Tensor, labels: Tensor, gradient: Tensor, drawn: Tensor) -> Tensor:
    """Return (N,) bool: where ``gradient``, which attacks climb in float32, is not the slope that the answers have.

    Central differences of the margin along the gradient and along the signs of ``drawn``, in float64; a model that only
    computes in float32, or hands its answers over in it, is measured with a wider step and along the gradient only. A
    gradient that was computed in low precision, as under autocast, is allowed what rounding does to the answers.
    """
    try:
        exact = copy_module(model).double()
        with torch.no_grad():
            true = exact(images.double())
        fine = true.dtype == torch.float64
        allowed = DISAGREEMENT + _rounding(model, true.double(), images)

        def answers(points: Tensor) -> Tensor:
            found: Tensor = exact(points)
            return found.double()

        points, climbed = images.double(), gradient.double()
        ways = [drawn.sign().double()] if fine else []
        return slopes_disagree(answers, points, labels, climbed, STEP if fine else COARSE_STEP, ways, allowed)
    except Exception as error:  # it holds float32 constants, casts to float32, or cannot be copied
        if is_out_of_memory(error) and len(images) > 1:  # in float64 one image alone may not fit
            raise
        return slopes_disagree(model, images, labels, gradient, COARSE_STEP)


def _rounding(model: nn.Module, true: Tensor, images: Tensor) -> float:
    """Return what a model's rounding explains: ten times the distance of its answers from those in float64."""
    with torch.no_grad():
        rounded = model(images).double()
    scale = (true - true.mean(1, keepdim=True)).abs().amax(1).clamp_min(1e-12)
    return min(ROUNDING * float(((rounded - true).abs().amax(1) / scale).median()), MOST_ROUNDING)


def slopes_disagree(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    gradient: Tensor,
    step: float,
    others: Sequence[Tensor] = (),
    allowed: float = DISAGREEMENT,
) -> Tensor:
    """Return (N,) bool: where central differences of the margin differ from what ``gradient`` says.

    They are taken along the gradient and along the directions ``others``.
    """
    with torch.no_grad():
        logits = model(images)
    if logits.dtype != images.dtype:
        raise TypeError(f"{logits.dtype} cannot show a step of {step}")
    rivals = logits.scatter(1, labels[:, None], -torch.inf).argmax(1)

    def lead(points: Tensor) -> Tensor:
        logits: Tensor = model(points)
        return logits.gather(1, labels[:, None]).squeeze(1) - logits.gather(1, rivals[:, None]).squeeze(1)

    length = gradient.flatten(1).norm(dim=1)
    ways = [gradient / length.clamp_min(1e-30).view(-1, 1, 1, 1), *others]
    wrong = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for way in ways:
        wrong |= _disagrees(lead, images, way, gradient, length, step, allowed)
    return wrong


def _disagrees(
    lead: Callable[[Tensor], Tensor],
    images: Tensor,
    way: Tensor,
    gradient: Tensor,
    length: Tensor,
    step: float,
    allowed: float,
) -> Tensor:
    with torch.no_grad():
        slope = (lead(images + step * way) - lead(images - step * way)) / (2 * step)
    claimed = (gradient * way).flatten(1).sum(1)
    # The size a slope along this direction has when the gradient points elsewhere at random.
    typical = length * way.flatten(1).norm(dim=1) / images[0].numel() ** 0.5
    expected = torch.maximum(typical, claimed.abs())
    return ~((slope - claimed).abs() <= allowed * expected + 1e-9)
