"""Attacks that stay in the ball and search it badly."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench import Classifier, Defense, Task, input_gradient
from robench_traps.base import Plain, Robust, Steps, ascent, climb, robust
from robench_traps.trap import trap


class StepEqualsEps(Steps):
    """Take steps as long as eps, which only jump between the corners of the ball."""

    name = "step-equals-eps"
    source = "evaluations of TeCoA, PMG-AFT and TGA-ZSR, where it left CLIP at 6.57 % instead of 0.53 %"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Jump twenty times."""
        return climb(model, images, labels, task.threat, 20, task.threat.eps)


class TooShort(Steps):
    """Take twenty steps that together reach a tenth of the way to the edge of the ball."""

    name = "steps-too-short"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Crawl."""
        return climb(model, images, labels, task.threat, 20, task.threat.eps / 200)


class Descends(Steps):
    """Walk down the loss: a minus sign is missing, or the optimiser minimises."""

    name = "descends-the-loss"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Make the model surer of the truth."""
        return climb(model, images, labels, task.threat, 20, -task.threat.eps / 8)


class AimsAtTruth(Steps):
    """Run a targeted attack whose target is the true label."""

    name = "aims-at-the-true-label"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Minimise the distance to the class the image has anyway."""
        iterate, targets = images, labels
        for _ in range(20):
            _, gradient = input_gradient(lambda x: -F.cross_entropy(model(x), targets, reduction="none"), iterate)
            iterate = task.threat.project(images, iterate + task.threat.eps / 8 * task.threat.steepest(gradient))
        return iterate


class ShuffledLabels(Steps):
    """Attack with labels in another order than the images, so that most are pushed from a class they never had."""

    name = "shuffled-labels"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Roll the labels by one."""
        return climb(model, images, labels.roll(1), task.threat, 20, task.threat.eps / 8)


class OneChannel(Steps):
    """Move the red channel alone: a mask of the wrong shape broadcasts over the others."""

    name = "one-channel"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Take back what happened to green and blue."""
        mask = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
        iterate = images
        for _ in range(20):
            step = task.threat.eps / 8 * mask * task.threat.steepest(ascent(model, iterate, labels))
            iterate = task.threat.project(images, iterate + step)
        return iterate


class OtherNetwork(Steps):
    """Craft on another network and sell the result as white-box."""

    name = "another-network"
    source = "transfer numbers reported as robust accuracy, in the course reports this benchmark began with"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Ignore the model."""
        return climb(robust(), images, labels, task.threat, 20, task.threat.eps / 8)


class Swings(Steps):
    """Anneal the step by a cosine of the wrong period, so that the second half walks back; keep the last iterate."""

    name = "last-iterate"
    source = "silent success: Pintor et al. 2022, Indicators of Attack Failure, I3"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Go there and back."""
        iterate = images
        for step in range(20):
            size = task.threat.eps / 4 * math.cos(math.pi * step / 20)
            iterate = task.threat.project(images, iterate + size * task.threat.steepest(ascent(model, iterate, labels)))
        return iterate


class MeanStop(Steps):
    """Stop the whole batch as soon as half of it is fooled, and leave the other half standing."""

    name = "stops-at-half"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Judge the batch by its mean."""
        iterate = images
        for _ in range(20):
            iterate = climb(model, iterate, labels, task.threat, 1, task.threat.eps / 40)
            iterate = task.threat.project(images, iterate)
            with torch.no_grad():
                fooled = model(iterate).argmax(1) != labels
            if bool(fooled.float().mean() >= 0.5):
                break
        return iterate


class ToZero(Steps):
    """Push every image towards class 0 and nowhere else, and count those that do not arrive as robust."""

    name = "one-target-only"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Descend towards one class."""
        return climb(model, images, torch.zeros_like(labels), task.threat, 20, -task.threat.eps / 8)


class KeepsTheWorst(Steps):
    """Keep the iterate of lowest loss instead of the highest: a comparison is the wrong way round."""

    name = "keeps-the-worst-iterate"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Climb from a random start, and go back to where the loss was least."""
        iterate = task.threat.from_uniform(images, task.uniform(images, "start"))
        kept, least = images, torch.full((len(images),), torch.inf)
        for _ in range(20):
            iterate = climb(model, images, labels, task.threat, 1, task.threat.eps / 8, start=iterate)
            with torch.no_grad():
                loss = F.cross_entropy(model(iterate), labels, reduction="none")
            kept = torch.where((loss < least).view(-1, 1, 1, 1), iterate, kept)
            least = loss.minimum(least)
        return kept


class NoiseOnly(Steps):
    """Draw random noise in the ball and call it PGD."""

    name = "noise-sold-as-pgd"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Take the random start and stop there."""
        return task.threat.from_uniform(images, task.uniform(images, "start"))


class HalfGradients(Steps):
    """Average the loss over the batch and keep its gradient in half precision, where most of it underflows to zero."""

    name = "half-precision-gradients"
    source = "the comment beside TTC's loss, and appendix B.6 of FARE"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Divide by the batch first, round to half precision after."""
        iterate = images
        for _ in range(20):
            gradient = (ascent(model, iterate, labels) / 65536).half().float()
            iterate = task.threat.project(images, iterate + task.threat.eps / 8 * gradient.sign())
        return iterate


class Blurred(Defense):
    """Average each pixel with its neighbours before the victim sees it."""

    name = "mean-filter"

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Put the filter before the victim."""
        victim.preprocess = torch.nn.AvgPool2d(5, stride=1, padding=2)
        return victim


class Bypass(Steps):
    """Craft on the network behind the defense, not through it: the attacker who never heard of the defense."""

    name = "attacks-the-undefended"
    source = "the static evaluations of TTC and R-TPT"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Skip the preprocessing."""
        return climb(model.network, images, labels, task.threat, 20, task.threat.eps / 8)


WEAK = ("one step <= many steps", "stronger attack", "undefended victim falls")
TRAPS = (
    trap(StepEqualsEps, "step size", alongside=(Robust,), eps="32/255"),
    trap(TooShort, "step size", "more steps", "converged", *WEAK, alongside=(Plain,)),
    trap(Descends, *WEAK, "noise <= gradients", alongside=(Plain,)),
    trap(AimsAtTruth, *WEAK, "noise <= gradients", alongside=(Plain,)),
    trap(ShuffledLabels, *WEAK, alongside=(Plain,)),
    trap(OneChannel, *WEAK, alongside=(Plain,)),
    trap(OtherNetwork, "model asked", *WEAK, alongside=(Plain,)),
    trap(Swings, "best iterate", "stronger attack", alongside=(Plain,)),
    trap(MeanStop, *WEAK, alongside=(Plain,)),
    trap(ToZero, *WEAK, "another loss", alongside=(Robust,), eps="16/255"),
    trap(KeepsTheWorst, *WEAK, "best iterate", alongside=(Plain,)),
    trap(NoiseOnly, *WEAK, "queries <= gradients", "measured slopes <= gradients", alongside=(Plain,)),
    trap(HalfGradients, *WEAK, "gradients present", alongside=(Plain,)),
    trap(Bypass, "model asked", *WEAK, "transfer <= white-box", alongside=(Plain, Blurred)),
)
