"""What white-box means for a defense: the classifier an attacker who knows it would take gradients through."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from robench.contracts.classifier import Classifier
from robench.contracts.components import Defense
from robench.contracts.task import Task, derive_seed
from robench.errors import attributed_to, require


class _Replace(torch.autograd.Function):
    """Give ``hard`` forward and hand the gradient to ``soft``."""

    @staticmethod
    def forward(ctx: Any, soft: Tensor, hard: Tensor) -> Tensor:
        return hard.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class StraightThrough(nn.Module):
    """Compute ``function`` forward and differentiate ``backward`` instead (BPDA, Athalye et al. 2018, section 4.1).

    Args:
        function: images -> images (or features), with no useful gradient of its own, such as rounding or JPEG.
        backward: a differentiable approximation of it with results of the same shape; None is the identity.
    """

    def __init__(
        self, function: Callable[[Tensor], Tensor], backward: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.function = function
        self.approximation = backward

    def forward(self, images: Tensor) -> Tensor:
        """Return exactly ``function(images)``."""
        with torch.no_grad():
            hard = self.function(images.detach())
        if not (torch.is_grad_enabled() and images.requires_grad):
            return hard
        soft = images if self.approximation is None else self.approximation(images)
        require(
            soft.shape == hard.shape,
            f"straight_through: the function returns {tuple(hard.shape)}, its backward approximation "
            f"{tuple(soft.shape)}; give an approximation whose result has the same shape.",
        )
        replaced: Tensor = _Replace.apply(soft, hard)
        return replaced


def straight_through(
    function: Callable[[Tensor], Tensor], backward: Callable[[Tensor], Tensor] | None = None
) -> nn.Module:
    """Return a module whose forward is ``function`` and whose gradient is that of ``backward`` (None: the identity)."""
    return StraightThrough(function, backward)


class Expected(Classifier):
    """Average the logits of several forwards: expectation over transformation (EOT, Athalye et al. 2018, section 4.2).

    The gradient of a loss of it is taken through every draw. ``network`` is the randomized classifier itself.
    """

    def __init__(self, randomized: Classifier, draws: int) -> None:
        super().__init__(randomized, randomized.classes)
        self.draws = draws

    def forward(self, images: Tensor) -> Tensor:
        """Return the mean logits (N, classes) over ``draws`` forwards."""
        total: Tensor = self.network(images)
        for _ in range(self.draws - 1):
            total = total + self.network(images)
        return total / self.draws


def adapt(defense: Defense, fitted: Classifier, prepared: Classifier, task: Task) -> Classifier:
    """Return the classifier that a white-box attack on this defense goes through.

    Args:
        defense: declares how its forward treats gradients, and whether it is randomized.
        fitted: the defended victim as trained.
        prepared: the same, rewritten for fast inference.
        task: carries the device.
    """
    target = prepared
    if defense.gradient == "straight-through":
        with attributed_to(f"{defense.name}.adaptive"):
            target = defense.adaptive(copy.deepcopy(fitted), task)
        require(
            isinstance(target, Classifier),
            f"{defense.name}.adaptive must return a robench.Classifier, not {type(target).__name__}.",
        )
        target = target.to(task.device).eval().requires_grad_(False)
    return Expected(target, defense.draws) if defense.randomized else target


def counted(model: Classifier) -> nn.Module:
    """Return the module whose forwards are what an attack on ``model`` costs: every draw counts."""
    return model.network if isinstance(model, Expected) else model


@contextmanager
def drawing(randomized: bool, task: Task, *words: object) -> Iterator[None]:
    """Make the global generators, from which a randomized defense draws, start from the task's seed and ``words``."""
    if not randomized:
        yield
        return
    devices = [torch.device(task.device)] if task.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(task.seed, "draws", *words))
        yield
