"""Iterative sign steps along accumulated gradients: what the attacks made for transfer have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from robench import Attack, SpecError, ThreatModel, parameter
from robench_builtins.attacks.shared.projected_gradient import check_step, joined, logits_of
from robench_builtins.attacks.shared.transfer_transforms import resized_and_padded, smooth

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task

#: What each parameter means, for the attacks that give it another default.
HELP = {
    "decay": "mu, weight of the gradients before; 0 takes each alone",
    "nesterov": "take the gradient where the accumulated one leads, at x + alpha * mu * m",
    "diversity": "probability with which a gradient is taken on the image resized and padded at random",
    "kernel": "side in pixels, odd, of the Gaussian that smooths the gradient; 1 leaves it as it is",
    "neighbours": "gradients at random neighbours of the iterate that tune the next step; 0 takes none",
}

#: A projected iterate may lie outside its ball by a rounding of float32.
ROUNDING = 1e-6


class MomentumFGSM(Attack):
    """Climb the cross-entropy along a running sum of normalised gradients.

    g_t = K * (gradient of CE(f(T(x_t)), y) + v_{t-1});  m_t = mu m_{t-1} + g_t / mean|g_t|;
    x_{t+1} = P(x_t + alpha * d(m_t)), with d the sign in Linf and m / |m|_2 in L2, and P the projection onto the
    eps-ball and the box. T resizes and pads at random (DI), K is a Gaussian (TI), v the difference between the mean
    gradient around x_{t-1} and that at it (VMI); the gradient may be taken ahead of x_t (NI) and averaged over darker
    copies of it (SI). Each attack switches on what its paper adds; the parameters combine them.

    The published codes divide by the mean absolute gradient, where the papers write its sum: only NI can tell. Their
    steps add up to eps, so none can be taken back: made for transfer, white-box they are weaker than PGD, and than FGSM
    where gradients disagree (DI); a ``step_size`` of 2.5 eps / steps helps.
    """

    asks_in_parts = True

    steps: int = parameter(default=10, help="gradient steps", minimum=1)
    step_size: float | None = parameter(
        default=None, help="alpha in pixel units; none: eps / steps, as the papers have it", minimum=0.0
    )
    decay: float = parameter(default=1.0, help=HELP["decay"], minimum=0.0)
    nesterov: bool = parameter(default=False, help=HELP["nesterov"])
    scales: int = parameter(
        default=1, help="copies x, x/2, x/4, ... over which the gradient is averaged; SI has 5", minimum=1, maximum=16
    )
    diversity: float = parameter(default=0.0, help=HELP["diversity"], minimum=0.0, maximum=1.0)
    resize: float = parameter(
        default=0.9, help="least side of a resized image, as a share of the whole one", minimum=0.1, maximum=1.0
    )
    kernel: int = parameter(default=1, help=HELP["kernel"], minimum=1)
    neighbours: int = parameter(default=0, help=HELP["neighbours"], minimum=0)
    beta: float = parameter(default=1.5, help="how far neighbours lie, as a share of eps", minimum=0.0)

    @property
    def iterative(self) -> bool:
        """Tell whether gradients are taken at more than one point."""
        return self.steps > 1 or self.scales > 1

    @property
    def veiled(self) -> bool:
        """Tell that no gradient's forward is at the iterate itself, so that a verdict on it costs another."""
        return self.nesterov or self.diversity > 0

    def passes(self) -> tuple[int, int]:
        """Return the most an image costs: the gradients of every step, and white-box the verdicts they do not give."""
        # What the neighbours of the last iterate would tell, no step is left to use.
        gradients = self.scales * (self.steps + (self.steps - 1) * self.neighbours)
        return gradients + (self.steps if self.veiled else 0), gradients

    def check(self, threat: ThreatModel) -> None:
        """Refuse a step that cannot move or is as large as the ball, and a kernel without a centre."""
        super().check(threat)
        check_step(self.name, self.step_size, threat, self.steps > 1, "eps / steps")
        if self.kernel % 2 == 0:
            raise SpecError(f"{self.name}.kernel {self.kernel} has no centre; give an odd number, or 1 for none.")

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the last iterate of each image or, with ``stop_early``, the first error that was met in the ball.

        Whatever the model was asked on the way counts, were it ahead of an iterate or a neighbour of it.
        """
        import torch

        if task.threat.eps == 0:
            return images.clone()
        result, zero = images.clone(), torch.zeros_like(images)
        walk = Walk(
            torch.arange(len(images), device=images.device), images, labels, images, images, zero, zero, zero, zero
        )
        for step in range(self.steps):
            if not len(walk.rows):
                break
            if task.stop_early and self.veiled:
                met = Met(walk, task)
                met.look(walk.here, logits_of(model, walk.here))
                walk, task = walk.leave(met, result, task)
            if len(walk.rows):
                met = Met(walk, task)
                gradient = self._gradient(model, self._ahead(walk, task.threat), task, met, step)
                walk, task = walk._replace(gradient=gradient).leave(met, result, task)
            if len(walk.rows) and self.neighbours and step:
                # As late as they are needed: who errs at the iterate after them is spared their neighbours.
                met = Met(walk, task)
                variance = self._variance(model, walk, task, met, step - 1)
                walk, task = walk._replace(variance=variance).leave(met, result, task)
            if len(walk.rows):
                walk = self._advance(walk, task.threat)
        result[walk.rows] = walk.here
        return result

    def _advance(self, walk: Walk, threat: ThreatModel) -> Walk:
        """Return the walk one step on."""
        tuned = smooth(walk.gradient + walk.variance, self.kernel)
        momentum = self.decay * walk.momentum + normalised(tuned)
        moved = walk.here + self._alpha(threat.eps) * threat.steepest(momentum)
        here = threat.project(walk.images, moved)
        return walk._replace(here=here, before=walk.here, momentum=momentum, slope=walk.gradient)

    def _ahead(self, walk: Walk, threat: ThreatModel) -> Tensor:
        """Return where the gradient is taken."""
        return walk.here + self._alpha(threat.eps) * self.decay * walk.momentum if self.nesterov else walk.here

    def _variance(self, model: Classifier, walk: Walk, task: Task, met: Met, step: int) -> Tensor:
        """Return the mean gradient over neighbours of the iterate before, of ``step``, minus the gradient there."""
        import torch

        threat, total = task.threat, torch.zeros_like(walk.before)
        # In L2 a neighbour lies about beta * eps away, whatever the number of pixels.
        reach = self.beta * threat.eps / (1.0 if threat.norm == "Linf" else walk.before[0].numel() ** 0.5)
        for number in range(self.neighbours):
            around = walk.before + reach * task.uniform(walk.before, "neighbour", step, number)
            total += self._gradient(model, around, task, met, step, number + 1)
        return total / self.neighbours - walk.slope

    def _gradient(self, model: Classifier, at: Tensor, task: Task, met: Met, step: int, point: int = 0) -> Tensor:
        """Return the gradient of the loss averaged over the copies of ``at``; ``met`` sees what was asked."""
        import torch
        import torch.nn.functional as F  # noqa: N812 - torch's own spelling

        from robench import input_gradient

        total = torch.zeros_like(at)
        for copy in range(self.scales):
            seen: list[tuple[Tensor, Tensor]] = []

            def loss(
                x: Tensor, labels: Tensor, *draw: Tensor, copy: int = copy, seen: list[tuple[Tensor, Tensor]] = seen
            ) -> Tensor:
                given = self._diverse(x / 2**copy, *draw)
                logits = model(given)
                seen.append((given.detach(), logits.detach()))
                return F.cross_entropy(logits, labels, reduction="none")

            total += input_gradient(loss, at, met.labels, *self._draw(at, task, step, point, copy))[1]
            met.look(*map(joined, zip(*seen, strict=True)))
        return total / self.scales

    def _draw(self, images: Tensor, task: Task, *words: int) -> tuple[Tensor, ...]:
        """Return what decides how each image is resized and padded, (N, 4) in [0, 1), or nothing."""
        if not self.diversity:
            return ()
        # Image by image: size, top, left, and whether at all.
        draw = (task.uniform(images[:, 0, 0, :1].expand(-1, 4), "diversity", *words) + 1) / 2
        return (draw.clamp_max(1 - 1e-6),)

    def _diverse(self, images: Tensor, draw: Tensor | None = None) -> Tensor:
        """Return each image resized and padded with probability ``diversity``, else as it is."""
        if draw is None:
            return images
        changed = resized_and_padded(images, self.resize, draw[:, :3])
        return changed.where((draw[:, 3] < self.diversity).view(-1, 1, 1, 1), images)

    def _alpha(self, eps: float) -> float:
        return self.step_size if self.step_size is not None else eps / self.steps


class Walk(NamedTuple):
    """Hold the images that are still moved, and what each has gathered on its way."""

    rows: Tensor
    images: Tensor
    labels: Tensor
    here: Tensor
    before: Tensor
    momentum: Tensor
    variance: Tensor
    gradient: Tensor  # at or ahead of the iterate
    slope: Tensor  # the same of the iterate before

    def leave(self, met: Met, result: Tensor, task: Task) -> tuple[Walk, Task]:
        """Put the errors that were met into ``result``, and return the walk and the task of the other images."""
        left = ~met.wrong
        if left.all():
            return self, task
        gone, places = met.wrong.nonzero().flatten(), left.nonzero().flatten()  # a GPU is waited for once for each
        result[self.rows[gone]] = met.errors[gone]
        return Walk(*(tensor[places] for tensor in self)), task.keep(left)


class Met:
    """Remember of each image of a walk the first error inside the ball, white-box; for transfer nothing."""

    def __init__(self, walk: Walk, task: Task) -> None:
        self.images, self.labels, self.errors = walk.images, walk.labels, walk.here
        self.wrong = walk.rows < 0  # none
        self._task = task

    def look(self, at: Tensor, logits: Tensor) -> None:
        """Take those of ``at`` (N, C, H, W) that err and lie in the ball and the box."""
        if not self._task.stop_early:
            return
        threat = self._task.threat
        new = ~self.wrong & (logits.argmax(1) != self.labels) & ((at >= 0) & (at <= 1)).flatten(1).all(1)
        new &= threat.distance(self.images, at) <= threat.eps + ROUNDING
        self.errors = at.where(new.view(-1, 1, 1, 1), self.errors)  # no mask, for which a GPU would be waited for
        self.wrong |= new


def normalised(gradient: Tensor) -> Tensor:
    """Return the gradient over its mean absolute value, image by image; one that is all zero stays so."""
    size = gradient.abs().mean((1, 2, 3), keepdim=True)
    return gradient / size.where(size > 0, 1.0)
