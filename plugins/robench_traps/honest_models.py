"""Honest models and attacks whose truth is known, or whose gradients look odd and are true."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from robench import Classifier, Split, Task
from robench_builtins.datasets.digits import Digits
from robench_traps.base import Plain, Robust, Shield, Steps, Victim, climb, conv_net, learn, seeded
from robench_traps.data import Altered
from robench_traps.training import squared_distances
from robench_traps.trap import control


@cache
def linear() -> nn.Module:
    """Return one linear map of the 8 x 8 means, trained on clean images."""
    return learn(
        seeded(lambda: nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(192, 10))), Digits().load("train")
    )


class LinearMap(Victim):
    """Attack a linear map, of which the margin under the worst perturbation is known in closed form."""

    name = "honest-linear"

    def network(self) -> nn.Module:
        """Return the trained map."""
        return linear()


class Prototypes(nn.Module):
    """Score each class by the least squared distance to one of its prototypes."""

    def __init__(self) -> None:
        super().__init__()
        train = Digits().load("train")
        images = train.images().float() / 255
        rows = torch.stack([(train.labels == label).nonzero()[:40, 0] for label in range(10)])
        self.register_buffer("known", images[rows.flatten()].flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        """Return minus the least squared distances (N, 10)."""
        flat, known = images.flatten(1), self.get_buffer("known")
        return -squared_distances(flat, known).view(len(images), 10, -1).amin(2) / 30


class NearestNeighbour(Victim):
    """Answer as the nearest of 400 training digits does, with gradients that are true but for kinks."""

    name = "honest-nearest-neighbour"

    def network(self) -> nn.Module:
        """Return the prototypes."""
        return Prototypes().eval()


class Square(nn.Module):
    """Square the pixels, so that black ones have no slope."""

    def forward(self, images: Tensor) -> Tensor:
        """Return x ** 2."""
        return images**2


@cache
def squared() -> nn.Module:
    """Return a network behind a square."""
    return learn(seeded(lambda: nn.Sequential(Square(), *conv_net())), Digits().load("train"))


class Squared(Victim):
    """Square the pixels first, whose slope is zero at black, as half of the image is."""

    name = "honest-square"

    def network(self) -> nn.Module:
        """Return the trained network."""
        return squared()


class MiddleOnly(Shield):
    """Look at the middle of the image alone, so that a third of the gradient is zero."""

    name = "honest-crop"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Paint the edge black."""
        seen = torch.zeros(images.shape[2:])
        seen[2:-2, 2:-2] = 1
        return super().answer(network, images * seen)


class Coarse(Altered):
    """Serve the digits in 17 grey levels."""

    name = "coarse-digits"

    def alter(self, images: Tensor, labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
        """Round."""
        return ((images.float() / 255 * 16).round() * 255 / 16).round().to(torch.uint8), labels


class UndoneByRounding(Shield):
    """Round to the 17 levels that all images have, and say so: what is shorter than half a level is undone."""

    name = "undone-by-rounding"
    gradient = "straight-through"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Give the rounding the derivative of the identity."""
        return super().answer(network, images + ((images * 16).round() / 16 - images).detach())


class RandomShift(Shield):
    """Shift the image by up to one pixel at random, and say so."""

    name = "declared-random-shift"
    source = "Xie et al. 2018, Mitigating Adversarial Effects Through Randomization; attacked in expectation"
    randomized = True

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Draw a shift from the global generator."""
        down, right = (int(torch.randint(-1, 2, ())) for _ in range(2))
        return super().answer(network, images.roll((down, right), (2, 3)))


class StopsEarly(Steps):
    """Leave each image alone once it fools the attacked model, and keep that iterate."""

    name = "stops-early"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Step where images still stand."""
        iterate = images.clone()
        for _ in range(20):
            with torch.no_grad():
                left = (model(iterate).argmax(1) == labels).nonzero().flatten()
            if not len(left):
                break
            step = climb(model, iterate[left], labels[left], task.threat, 1, task.threat.eps / 8)
            iterate[left] = task.threat.project(images[left], step)
        return iterate


class CleanOnFailure(Steps):
    """Return the clean image where the attack failed, as some libraries do; what fell is the same."""

    name = "clean-where-it-failed"
    source = "foolbox returns the starting point of an attack that found nothing"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Climb, look, and keep what won."""
        moved = climb(model, images, labels, task.threat, 20, task.threat.eps / 8)
        with torch.no_grad():
            fell = model(moved).argmax(1) != labels
        return torch.where(fell.view(-1, 1, 1, 1), moved, images)


CONTROLS = (
    control(LinearMap, eps="4/255", n=60),
    control(NearestNeighbour, eps="8/255", n=60),
    control(Squared, n=60),
    control(MiddleOnly, alongside=(Plain,), n=60),
    control(UndoneByRounding, alongside=(Plain, Coarse), eps="7/255", n=60),
    control(RandomShift, alongside=(Plain,), n=60),
    control(StopsEarly, alongside=(Plain,), n=60),
    control(CleanOnFailure, alongside=(Robust,), victim="robust", eps="24/255", n=60),
)
