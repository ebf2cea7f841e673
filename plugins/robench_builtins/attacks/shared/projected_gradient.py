"""What PGD and its targeted form share: starts, steps, projection."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from robench import Attack, SpecError, ThreatModel, parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from robench import Classifier, Task


#: How a paper that did so is repeated.
REPEAT = "; to repeat a paper that did so, add as_published=true"


class ProjectedGradient(Attack):
    """Climb a loss in small steps, projecting onto the ball after each.

    x_0 = P(x + u) with u uniform in the ball, or x_0 = x;
    x_{t+1} = P(x_t + alpha * d(g_t)), where g_t is the gradient of L(f(x_t)) with respect to x_t, d is the
    sign in Linf, g / |g|_2 in L2 and, in L1, the signs of the largest hundredth of g over their number (SLIDE), and P
    projects onto the eps-ball around x and the box [0, 1].
    """

    norms = ("Linf", "L2", "L1")

    steps: int = parameter(default=20, help="gradient steps from each start", minimum=1)
    step_size: float | None = parameter(
        default=None,
        help="alpha in pixel units; none: 2.5 * eps / steps, at most 0.75 * eps if there are several steps",
        minimum=0.0,
    )
    restarts: int = parameter(
        default=1, help="starts, each tried on the images that resisted the ones before", minimum=1
    )
    random_start: bool = parameter(
        default=True, help="start at a uniform draw from the ball instead of at the clean image"
    )

    as_published: bool = parameter(
        default=False,
        help="take a step as large as the ball, as some papers do: measured, marked as weak, and ranking no row",
        later=True,
    )

    @property
    def iterative(self) -> bool:
        """Tell whether more than one step is taken."""
        return self.steps > 1

    def check(self, threat: ThreatModel) -> None:
        """Refuse a step that cannot move, or that is as large as the ball it searches."""
        super().check(threat)
        if self.as_published and self.weakness(threat):
            return
        check_step(self.name, self.step_size, threat, self.iterative, "2.5 * eps / steps", REPEAT)

    def weakness(self, threat: ThreatModel) -> str:
        """Say so where the step, as published, is as large as the ball."""
        if self.as_published and self.iterative and 0 < threat.eps <= (self.step_size or 0):
            return "as published, with a step as large as the ball, it only jumps between the ball's corners"
        return ""

    def strongest_restart(self, model: Classifier, images: Tensor, aims: Aims, task: Task) -> Tensor:
        """Return each image's last iterate, of the restart in which it reached the highest loss."""
        result = self._climb(model, images, aims, task, 0)
        if self.restarts == 1:
            return result
        highest = aims.loss(logits_of(model, result))
        for restart in range(1, self.restarts):
            iterate = self._climb(model, images, aims, task, restart)
            loss = aims.loss(logits_of(model, iterate))
            higher = loss > highest
            result[higher], highest[higher] = iterate[higher], loss[higher]
        return result

    def _climb(self, model: Classifier, images: Tensor, aims: Aims, task: Task, restart: int) -> Tensor:
        """Take every step of one restart."""
        iterate = self._start(images, task, restart)
        for _ in range(self.steps):
            _, iterate = self._step(model, images, iterate, aims, task.threat)
        return iterate

    def _start(self, images: Tensor, task: Task, restart: int) -> Tensor:
        if not self.random_start:
            return images
        return task.threat.from_uniform(images, task.uniform(images, "start", restart))

    def _step(
        self, model: Classifier, images: Tensor, iterate: Tensor, aims: Aims, threat: ThreatModel
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of ``iterate``, which the gradient needs anyway, and the iterate after it."""
        from robench import input_gradient

        seen: list[Tensor] = []

        def loss(x: Tensor, *along: Tensor) -> Tensor:
            seen.append(model(x))
            return Aims(*along).loss(seen[-1])

        _, gradient = input_gradient(loss, iterate, *aims)
        moved = iterate + threat.steepest(gradient, iterate).mul_(self._alpha(threat.eps))
        return joined(seen).detach(), threat.project(images, moved)

    def _alpha(self, eps: float) -> float:
        if self.step_size is not None:
            return self.step_size
        return min(2.5 / self.steps, 0.75) * eps if self.iterative else 2.5 * eps


def logits_of(model: Classifier, images: Tensor) -> Tensor:
    """Return the logits of one forward without a graph; torch is imported with it, and not before."""
    from robench import logits_of

    return logits_of(model, images)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Return what was seen of images part after part, a row an image, as one tensor."""
    import torch

    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


class Aims(NamedTuple):
    """Hold a class for each image, and whether it is to be left (+1) or reached (-1)."""

    classes: Tensor
    signs: Tensor

    def loss(self, logits: Tensor) -> Tensor:
        """Return what is climbed, per image: CE(logits, class) where it is to be left, its negative elsewhere."""
        import torch.nn.functional as F  # noqa: N812 - torch's own spelling

        return self.signs * F.cross_entropy(logits, self.classes, reduction="none")

    def keep(self, places: Tensor) -> Aims:
        """Return the rows at ``places``."""
        return Aims(self.classes[places], self.signs[places])


class Left(NamedTuple):
    """Hold the images that still resist, and their places in the batch."""

    rows: Tensor
    images: Tensor
    labels: Tensor
    aims: Aims

    def keep(self, mask: Tensor) -> Left:
        """Return the rows that ``mask`` keeps."""
        places = mask.nonzero().flatten()  # a GPU is waited for once, and not for each tensor
        return Left(self.rows[places], self.images[places], self.labels[places], self.aims.keep(places))


def check_step(
    name: str, size: float | None, threat: ThreatModel, iterative: bool, usual: str, repeat: str = ""
) -> None:
    """Raise SpecError for a step size that cannot move, or that is as large as the ball it searches."""
    if size is None or threat.eps == 0:
        return
    if size <= 0:
        raise SpecError(f"{name}.step_size {size:g} does not move an image; leave step_size out for {usual}.")
    if iterative and size >= threat.eps:
        step = dataclasses.replace(threat, eps=size).radius if size <= 1 else f"{size:g}"
        raise SpecError(
            f"{name}.step_size {step} is not smaller than eps {threat.radius}: "
            "a step as large as the ball only jumps between its corners "
            "(it left CLIP at 6.57 % where 0.53 % was true). "
            f"Give a smaller step_size, or leave it out for {usual}{repeat}."
        )


def least_likely(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the class of the lowest logit among those that are not the label, shape (N,)."""
    return logits.scatter(1, labels[:, None], float("inf")).argmin(1)


def random_wrong(images: Tensor, labels: Tensor, classes: int, task: Task) -> Tensor:
    """Return a class drawn evenly from those that are not the label, image by image, shape (N,)."""
    draw = (task.uniform(images[:, 0, 0, 0], "target") + 1) / 2
    # A draw of exactly 1 would come round to the label itself.
    shift = 1 + (draw * (classes - 1)).long().clamp_max(classes - 2)
    return (labels + shift) % classes
