"""The fast adaptive boundary attack, which looks for the nearest error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import Attack, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task


class FAB(Attack):
    """Walk to the nearest decision boundary, target class by target class, and step back from it.

    It climbs no loss, so a loss whose gradient vanishes does not stop it, and it knows eps only when it is done.
    """

    name = "fab"
    source = (
        "Croce and Hein 2020, Minimally distorted adversarial examples with a fast adaptive boundary attack, "
        "https://arxiv.org/abs/1907.02044; targeted as in https://arxiv.org/abs/2003.01690"
    )

    norms = ("Linf", "L2", "L1")
    asks_in_parts = True

    steps: int = parameter(default=100, help="iterations from each start", minimum=1)
    restarts: int = parameter(
        default=1, help="starts of each target class: the image, then random points at half the radius", minimum=1
    )
    targets: int = parameter(default=9, help="how many of the likeliest wrong classes are tried", minimum=1)
    alpha_max: float = parameter(
        default=0.1,
        help="most weight of the way from the image against that from the iterate",
        minimum=0.0,
        maximum=1.0,
    )
    eta: float = parameter(default=1.05, help="overshooting of the boundary", minimum=1.0)
    beta: float = parameter(
        default=0.9, help="share of an error's distance from which the search goes on", minimum=0.0, maximum=1.0
    )

    @property
    def iterative(self) -> bool:
        """Tell that many steps are taken."""
        return True

    def passes(self) -> tuple[int, int]:
        """Return the most an image costs: the ranking of targets, and two forwards and a backward a step."""
        steps = self.targets * self.restarts * self.steps
        return 2 * steps + 1, steps

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return each image's nearest error, moved back to the ball where it lies outside."""
        from robench import fab

        return fab(
            model,
            images,
            labels,
            task,
            steps=self.steps,
            restarts=self.restarts,
            targets=self.targets,
            alpha_max=self.alpha_max,
            eta=self.eta,
            beta=self.beta,
        )
