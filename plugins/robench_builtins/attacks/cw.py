"""The Carlini-Wagner attack, which looks for the smallest change that makes the model err."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from robench import Attack, SpecError, ThreatModel, parameter
from robench_builtins.attacks.shared.projected_gradient import joined

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task

#: Keeps black and white pixels off the ends of tanh, where they could never move. The published code's 0.999999 takes
#: them 600 steps to come back from, which its 10,000 have; this costs each at most 0.00005 of its brightness.
INSIDE = 0.9999

#: Of the published code: above the first, no constant has been found to suffice; a search ends whose loss has not
#: fallen by the second's share within a tenth of its steps (here at least the third: Adam needs a run-up).
UNKNOWN, STALLED, RUN_UP = 1e10, 0.9999, 100


class CW(Attack):
    """Minimise the L2 distance plus c times the margin, and search the smallest c that makes the model err.

    min over w of |x' - x|^2 + c * max(z_y - max over i != y of z_i, -kappa), x' = (tanh(w) + 1) / 2, by Adam from x;
    c is multiplied by 10 until the image errs, then bisected, image by image. The nearest error counts; one that lies
    outside the ball is moved back to it. White-box, an image is done at its first error inside the ball.

    Ours, since torchattacks' CW searches no c (at its c = 1 most images resist), compares the label's logit with 0
    where all others are negative, stops the whole batch by the sum of its losses, and cannot move a pixel that is
    exactly 0 or 1. The published code tries its confidence with the wrong sign when it is untargeted; here kappa is the
    lead that an error must have. For the same margin in Linf there is ``apgd[loss=margin]``.
    """

    name = "cw"
    source = (
        "Carlini and Wagner 2017, Towards Evaluating the Robustness of Neural Networks, "
        "https://arxiv.org/abs/1608.04644, sections V (f6) and VI-A; constants of the published code (9 searches "
        "from c = 0.001, Adam with 0.01, kappa 0), which allows each search 10,000 steps"
    )
    norms = ("L2",)
    asks_in_parts = True

    steps: int = parameter(default=1000, help="steps of each search; the published code allows 10,000", minimum=1)
    searches: int = parameter(default=9, help="values of c that are tried", minimum=1)
    constant: float = parameter(default=0.001, help="the first c", minimum=1e-9)
    learning_rate: float = parameter(default=0.01, help="Adam's, in units of w", minimum=1e-9)
    confidence: float = parameter(
        default=0.0,
        help="kappa: by how much another logit must lead; more carries further to other models",
        minimum=0.0,
    )
    abort_early: bool = parameter(
        default=True, help="end an image's search when a tenth of its steps (at least 100) gained nothing"
    )

    @property
    def iterative(self) -> bool:
        """Tell that many steps are taken."""
        return self.steps > 1

    def passes(self) -> tuple[int, int]:
        """Return the most an image costs: every step of every search."""
        return self.steps * self.searches, self.steps * self.searches

    def check(self, threat: ThreatModel) -> None:
        """Refuse other norms with a word on what to take there."""
        if threat.norm not in self.norms:
            raise SpecError(f"cw works in L2, not in {threat.norm}; apgd[loss=margin] climbs the same margin there.")

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return each image's nearest error, else where its last search ended, moved back to the ball."""
        if task.threat.eps == 0:
            return images.clone()
        search = Search.begin(images, labels, self.constant)
        for _ in range(self.searches):
            rows = search.rows(task)
            if not len(rows):
                break
            found = self._descend(model, search, rows, task)
            search.adjust(rows, found)
        return search.result(task.threat)

    def _descend(self, model: Classifier, search: Search, rows: Tensor, task: Task) -> Tensor:
        """Take the steps of one search on ``rows``, and tell for which of them an error was found (N,)."""
        import torch

        from robench import input_gradient

        found = torch.zeros_like(search.labels, dtype=torch.bool)
        along = search.images[rows], search.labels[rows], search.constants[rows]
        w = torch.atanh((2 * along[0] - 1) * INSIDE)
        adam, before = Adam(self.learning_rate, torch.zeros_like(w), torch.zeros_like(w)), None
        for step in range(self.steps):
            seen: list[tuple[Tensor, ...]] = []

            def loss(
                w: Tensor, images: Tensor, labels: Tensor, constants: Tensor, seen: list[tuple[Tensor, ...]] = seen
            ) -> Tensor:
                iterate = (torch.tanh(w) + 1) / 2
                distance = (iterate - images).flatten(1).square().sum(1)
                lead = leads(model(iterate), labels)
                seen.append((iterate.detach(), distance.detach(), lead.detach()))
                return distance + constants * (self.confidence - lead).clamp_min(0)

            values, gradient = input_gradient(loss, w, *along)
            iterate, distance, lead = map(joined, zip(*seen, strict=True))
            hit = (lead > 0) & (lead >= self.confidence)
            found[rows] |= hit
            search.offer(rows, iterate, distance, hit)
            stays = ~(hit & (distance.sqrt() <= task.threat.eps)) if task.stop_early else torch.ones_like(hit)
            if self.abort_early and step % max(self.steps // 10, RUN_UP) == 0:
                stays &= values <= before * STALLED if before is not None else True
                before = values
            w, adam = adam.step(w, gradient, step + 1)
            if not stays.all():
                places = stays.nonzero().flatten()  # a GPU is waited for once, and not for each tensor
                rows, w, adam = rows[places], w[places], adam.keep(places)
                along = along[0][places], along[1][places], along[2][places]
                before = before[places] if before is not None else None
            if not len(rows):
                break
        return found


@dataclasses.dataclass
class Search:
    """Hold of each image the bracket around its constant, its nearest error, and where it was last."""

    images: Tensor
    labels: Tensor
    constants: Tensor
    lower: Tensor
    upper: Tensor
    nearest: Tensor
    last: Tensor
    distances: Tensor  # squared, of the nearest error

    @classmethod
    def begin(cls, images: Tensor, labels: Tensor, constant: float) -> Search:
        """Return a search that has found nothing."""
        row = images.new_zeros(len(images))
        far = row + float("inf")
        return cls(images, labels, row + constant, row, row + UNKNOWN, images.clone(), images.clone(), far)

    def rows(self, task: Task) -> Tensor:
        """Return the rows that are still searched: all or, white-box, those without an error inside the ball."""
        import torch

        done = self.distances.sqrt() <= task.threat.eps if task.stop_early else torch.zeros_like(self.labels).bool()
        return (~done).nonzero().flatten()

    def offer(self, rows: Tensor, iterate: Tensor, distance: Tensor, hit: Tensor) -> None:
        """Remember the iterate, and as nearest where it errs closer to the image than any before."""
        closer = (hit & (distance < self.distances[rows])).nonzero().flatten()
        self.last[rows] = iterate
        self.nearest[rows[closer]] = iterate[closer]
        self.distances[rows[closer]] = distance[closer]

    def adjust(self, rows: Tensor, found: Tensor) -> None:
        """Lower the constants that sufficed, raise the others: by bisection once both ends are known, else tenfold."""
        import torch

        constants, hit = self.constants[rows], found[rows]
        upper = torch.where(hit, torch.minimum(self.upper[rows], constants), self.upper[rows])
        lower = torch.where(hit, self.lower[rows], torch.maximum(self.lower[rows], constants))
        self.constants[rows] = torch.where(
            upper < UNKNOWN / 10, (lower + upper) / 2, (constants * 10).clamp_max(UNKNOWN)
        )
        self.upper[rows], self.lower[rows] = upper, lower

    def result(self, threat: ThreatModel) -> Tensor:
        """Return the nearest errors, or the last iterates where there is none; those outside moved to the ball."""
        import torch

        wide = self.distances.isfinite().view(-1, 1, 1, 1)
        chosen = torch.where(wide, self.nearest, self.last)
        inside = threat.distance(self.images, chosen) <= threat.eps
        # As it is where it may be: even a move by a rounding could cross back over the border it lies on.
        return torch.where(inside.view(-1, 1, 1, 1), chosen, threat.project(self.images, chosen))


@dataclasses.dataclass
class Adam:
    """Hold the moments of images that leave one by one, as torch's own cannot (Kingma and Ba 2015, algorithm 1)."""

    rate: float
    mean: Tensor
    square: Tensor

    def step(self, w: Tensor, gradient: Tensor, number: int) -> tuple[Tensor, Adam]:
        """Return w and the moments after step ``number``, counted from 1."""
        mean = 0.9 * self.mean + 0.1 * gradient
        square = 0.999 * self.square + 0.001 * gradient.square()
        size = (square / (1 - 0.999**number)).sqrt() + 1e-8
        return w - self.rate * mean / (1 - 0.9**number) / size, Adam(self.rate, mean, square)

    def keep(self, places: Tensor) -> Adam:
        """Return the moments of the rows at ``places``."""
        return Adam(self.rate, self.mean[places], self.square[places])


def leads(logits: Tensor, labels: Tensor) -> Tensor:
    """Return by how much the largest other logit exceeds the label's, shape (N,)."""
    others = logits.scatter(1, labels[:, None], -float("inf")).max(1).values
    return others - logits.gather(1, labels[:, None]).squeeze(1)
