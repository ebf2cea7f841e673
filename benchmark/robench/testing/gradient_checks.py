"""Hold what a defense declares about its gradients against what its forward does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from robench.contracts.classifier import Classifier, input_gradient
from robench.contracts.global_generators import seeded_globally
from robench.errors import ContractError, require
from robench.testing import fixtures
from robench.testing.component_under_test import NotTried, Subject, logits_of
from robench.testing.fixtures import USUAL

IMAGES, DIRECTIONS = 4, 6
#: A step as large as an attack's, where a gradient that is exactly 0 would hide that the logits change.
COARSE = 8 / 255
#: Share of the trials that must agree; at a kink (a clamp, a maximum) the two sides differ rightly.
AGREE = 0.75


@dataclass(frozen=True)
class Slopes:
    """Hold what autograd and finite differences say along random directions, each (IMAGES, DIRECTIONS).

    Attributes:
        problem: why there is no gradient at all; empty if there is one.
        tolerance: the largest relative difference that arithmetic explains.
        changed: whether a coarse step along some direction changes the logits.
    """

    autograd: Tensor
    differences: Tensor
    tolerance: float
    changed: bool
    problem: str = ""

    @property
    def agree(self) -> float:
        """Return the share of trials in which the two agree."""
        scale = torch.maximum(self.autograd.abs(), self.differences.abs()).clamp_min(1e-9)
        return float(((self.autograd - self.differences).abs() <= self.tolerance * scale).float().mean())

    @property
    def vanish(self) -> bool:
        """Tell whether the gradient is exactly 0 everywhere."""
        return not bool(self.autograd.any())


def randomness(subject: Subject) -> None:
    """Two forwards of one image differ if, and only if, the defense says that they may."""
    model, images = subject.fitted().model, fixtures.pictures(USUAL, IMAGES)
    draws = [logits_of(model, images) for _ in range(4)]
    differ = any(not torch.equal(draws[0], other) for other in draws[1:])
    require(
        subject.component.randomized or not differ,
        f"{subject.name} answers one image in two ways and does not say so; set randomized = True, so that attacks "
        "average over its draws.",
    )
    require(
        differ or not subject.component.randomized,
        f"{subject.name} says that it is randomized, and four forwards of the same images agree bit by bit; leave "
        "randomized out.",
    )


def declared_gradient(subject: Subject) -> None:
    """exact: autograd agrees with finite differences; straight-through: there is one; none: there is no true one."""
    declared = subject.component.gradient
    require(
        declared in ("exact", "straight-through", "none"),
        f"{subject.name}.gradient is {declared!r}; choose 'exact', 'straight-through' or 'none'.",
    )
    slopes = measure(subject.fitted().model)
    if declared == "none":
        require(
            bool(slopes.problem) or slopes.vanish or slopes.agree < AGREE,
            f"{subject.name} declares gradient = 'none', and autograd agrees with finite differences; declare 'exact', "
            "or the benchmark attacks it with weaker means than there are.",
        )
        return
    require(
        not slopes.problem,
        f"{subject.name} declares gradient = '{declared}', and no gradient reaches the pixels ({slopes.problem}); "
        "declare 'none', or let it through.",
    )
    require(
        not (slopes.vanish and slopes.changed),
        f"{subject.name} declares gradient = '{declared}', and the gradient is exactly 0 although the logits change "
        "with the pixels; declare 'none', or pass the gradient straight through and declare 'straight-through'.",
    )
    if declared == "exact":
        require(
            slopes.agree >= AGREE,
            f"{subject.name} declares gradient = 'exact', and autograd agrees with finite differences in only "
            f"{slopes.agree:.0%} of {slopes.autograd.numel()} trials; declare 'straight-through' if the backward "
            "pass is an approximation.",
        )


def measure(model: Classifier) -> Slopes:
    """Return the slopes of a random combination of the logits, at the scale at which the two agree better.

    The model is tried in float64 with a small step and, since one that casts to float32 inside has only rounding
    noise there, in float32 with a larger one. What is no derivative disagrees at both.
    """
    with suppress(Exception):  # a model that insists on float32 raises whatever it trips on
        found = _measure(copy.deepcopy(model).double(), torch.float64, 1e-6, 1e-2)
        if found.agree >= AGREE or found.problem:
            return found
    return _measure(model, torch.float32, 2e-3, 0.2)


def _measure(model: Classifier, kind: torch.dtype, step: float, tolerance: float) -> Slopes:
    generator = torch.Generator().manual_seed(0)
    # Off the byte grid: neighbours of equal value are a kink of every median and maximum.
    images = fixtures.pictures(USUAL, IMAGES).to(kind)
    images = images + 0.9 / 255 * (torch.rand(images.shape, generator=generator).to(kind) - 0.5)
    weights = torch.randn(USUAL.classes, generator=generator).to(kind)
    score = _held(lambda x: model(x) @ weights, images)
    none = torch.zeros(IMAGES, DIRECTIONS, dtype=kind)
    try:
        _, gradient = input_gradient(score, images)
    except (RuntimeError, ContractError) as error:  # torch's words for a cut graph, or ours
        return Slopes(none, none, tolerance, changed=True, problem=str(error).splitlines()[0])
    autograd, differences, changed = none.clone(), none.clone(), False
    with torch.no_grad():
        for place in range(DIRECTIONS):
            unit = torch.randint(0, 2, images.shape, generator=generator).to(kind) * 2 - 1
            autograd[:, place] = (gradient * unit).flatten(1).sum(1)
            differences[:, place] = (score(images + step * unit) - score(images - step * unit)) / (2 * step)
            changed |= not torch.equal(score(images + COARSE * unit), score(images))
    return Slopes(autograd, differences, tolerance, changed)


def _held(score: Callable[[Tensor], Tensor], images: Tensor) -> Callable[[Tensor], Tensor]:
    """Return ``score`` with the same draws at each call; NotTried if it draws from a generator of its own."""

    def held(x: Tensor) -> Tensor:
        with seeded_globally(0):
            return score(x)

    with torch.no_grad():
        if not torch.equal(held(images), held(images)):
            raise NotTried("two forwards differ although the global generators are seeded, so slopes say nothing.")
    return held
