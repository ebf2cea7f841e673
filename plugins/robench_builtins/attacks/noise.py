"""Random noise in the ball: what every attack must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from robench import Attack, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task


class Noise(Attack):
    """Draw random points of the ball and keep the one that fools the model, or comes nearest to it.

    A control, not a threat: an image that falls to noise but withstood an attack shows that the attack is broken.
    """

    name = "noise"
    source = "random search, the weakest baseline of Carlini et al. 2019, https://arxiv.org/abs/1902.06705"
    norms = ("Linf", "L2", "L1")
    asks_in_parts = True
    queries_only: ClassVar[bool] = True

    distribution: Literal["uniform", "gaussian", "corners"] = parameter(
        default="uniform",
        help="of each pixel's change: uniform in +-eps, normal of standard deviation eps cut off there, or +-eps "
        "itself; in L2 and L1 scaled to length eps",
    )
    draws: int = parameter(default=1, help="random points an image", minimum=1)

    def passes(self) -> tuple[int, int]:
        """Return the most an image costs: a forward for each draw, if there is a choice."""
        return (self.draws if self.draws > 1 else 0), 0

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the best draw."""
        from robench import noise

        return noise(model, images, labels, task, distribution=self.distribution, draws=self.draws)
