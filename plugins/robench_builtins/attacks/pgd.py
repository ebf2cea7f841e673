"""Projected gradient descent: many small steps, from random starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from robench import Attack, SpecError, ThreatModel, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task


class PGD(Attack):
    """Climb the loss in small steps, projecting onto the ball after each.

    x_0 = P(x + u) with u uniform in the ball, or x_0 = x;
    x_{t+1} = P(x_t + alpha * d(g_t)), where g_t is the gradient of L(f(x_t)) with respect to x_t, d is the
    sign in Linf and g / |g|_2 in L2, and P projects onto the eps-ball around x and the box [0, 1].
    L is the cross-entropy CE(., y) to the label or, targeted, -CE(., target).
    """

    name = "pgd"
    source = (
        "Madry et al. 2018, Towards Deep Learning Models Resistant to Adversarial Attacks, "
        "https://arxiv.org/abs/1706.06083"
    )

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
    target: Literal["untargeted", "least-likely", "random"] = parameter(
        default="untargeted",
        help="class to move to: none, the least likely one of the clean image, or a random wrong one",
    )

    @property
    def iterative(self) -> bool:
        """Tell whether more than one step is taken."""
        return self.steps > 1

    def passes(self) -> tuple[int, int]:
        """Return the most an image costs: every step of every start, and the verdicts between starts."""
        boundaries = self.restarts if self.restarts > 1 else 0
        return self.steps * self.restarts + boundaries + (self.target == "least-likely"), self.steps * self.restarts

    def check(self, threat: ThreatModel) -> None:
        """Refuse a step that cannot move, or that is as large as the ball it searches."""
        super().check(threat)
        if self.step_size is None or threat.eps == 0:
            return
        if self.step_size <= 0:
            raise SpecError(
                f"pgd.step_size {self.step_size:g} does not move an image; leave step_size out for 2.5 * eps / steps."
            )
        if self.iterative and self.step_size >= threat.eps:
            raise SpecError(
                f"pgd.step_size {self.step_size:g} is not smaller than eps {threat.eps:g}: "
                "a step as large as the ball only jumps between its corners "
                "(it left CLIP at 6.57 % where 0.53 % was true). "
                "Give a smaller step_size, or leave it out for 2.5 * eps / steps."
            )

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the last iterate of each image or, with ``stop_early``, the first that fools the model."""
        if task.threat.eps == 0:
            return images.clone()
        aims = self._aims(model, images, labels, task)
        if task.stop_early:
            return self._until_fooled(model, images, labels, aims, task)
        return self._strongest_restart(model, images, aims, task)

    def _until_fooled(self, model: Classifier, images: Tensor, labels: Tensor, aims: Tensor, task: Task) -> Tensor:
        """Drop each image at its first iterate that errs; the harness judges the very last iterate."""
        import torch

        result = images.clone()
        left = _Left(torch.arange(len(images), device=images.device), images, labels, aims)
        for restart in range(self.restarts):
            # Drawn for the whole batch, so that an image's start does not depend on who has left.
            iterate = self._start(images, task, restart)[left.rows]
            for _ in range(self.steps):
                if not len(left.rows):
                    return result
                logits, moved = self._step(model, left.images, iterate, left.aims, task.threat)
                fooled = logits.argmax(1) != left.labels
                if fooled.any():
                    result[left.rows[fooled]] = iterate[fooled]
                    left, moved = left.keep(~fooled), moved[~fooled]
                iterate = moved
            result[left.rows] = iterate
            if len(left.rows) and restart + 1 < self.restarts:
                left = left.keep(_logits(model, iterate).argmax(1) == left.labels)
        return result

    def _strongest_restart(self, model: Classifier, images: Tensor, aims: Tensor, task: Task) -> Tensor:
        """Return each image's last iterate, of the restart in which it reached the highest loss."""
        result = self._climb(model, images, aims, task, 0)
        if self.restarts == 1:
            return result
        highest = self._loss(_logits(model, result), aims)
        for restart in range(1, self.restarts):
            iterate = self._climb(model, images, aims, task, restart)
            loss = self._loss(_logits(model, iterate), aims)
            higher = loss > highest
            result[higher], highest[higher] = iterate[higher], loss[higher]
        return result

    def _climb(self, model: Classifier, images: Tensor, aims: Tensor, task: Task, restart: int) -> Tensor:
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
        self, model: Classifier, images: Tensor, iterate: Tensor, aims: Tensor, threat: ThreatModel
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of ``iterate``, which the gradient needs anyway, and the iterate after it."""
        from robench import input_gradient

        logits: list[Tensor] = []

        def loss(x: Tensor) -> Tensor:
            logits.append(model(x))
            return self._loss(logits[0], aims)

        _, gradient = input_gradient(loss, iterate)
        moved = iterate + self._alpha(threat.eps) * threat.steepest(gradient)
        return logits[0].detach(), threat.project(images, moved)

    def _alpha(self, eps: float) -> float:
        if self.step_size is not None:
            return self.step_size
        return min(2.5 / self.steps, 0.75) * eps if self.iterative else 2.5 * eps

    def _loss(self, logits: Tensor, aims: Tensor) -> Tensor:
        """Return what is climbed, per image."""
        import torch.nn.functional as F  # noqa: N812 - torch's own spelling

        distance = F.cross_entropy(logits, aims, reduction="none")
        return distance if self.target == "untargeted" else -distance

    def _aims(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the class to move away from (untargeted: the label) or towards (never the label)."""
        if self.target == "untargeted":
            return labels
        if self.target == "least-likely":
            return _logits(model, images).scatter(1, labels[:, None], float("inf")).argmin(1)
        others = model.classes - 1
        draw = (task.uniform(images[:, 0, 0, 0], "target") + 1) / 2
        # A draw of exactly 1 would come round to the label itself.
        shift = 1 + (draw * others).long().clamp_max(others - 1)
        return (labels + shift) % model.classes


class _Left(NamedTuple):
    """Hold the images that still resist, and their places in the batch."""

    rows: Tensor
    images: Tensor
    labels: Tensor
    aims: Tensor

    def keep(self, mask: Tensor) -> _Left:
        """Return the rows that ``mask`` keeps."""
        return _Left(*(tensor[mask] for tensor in self))


def _logits(model: Classifier, images: Tensor) -> Tensor:
    """Return the logits of one forward without a graph."""
    import torch

    with torch.no_grad():
        logits: Tensor = model(images)
        return logits
