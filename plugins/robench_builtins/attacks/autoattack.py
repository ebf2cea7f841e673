"""AutoAttack, the reference that robust accuracies are compared under."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import Attack, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task


class AutoAttack(Attack):
    """Run four unlike attacks in a row, each on the images that withstood those before.

    ``standard``: APGD on cross-entropy, APGD on the targeted DLR loss and targeted FAB for the 9 likeliest wrong
    classes (all of them if there are fewer), and Square. With 3 classes the untargeted DLR, with 2 the margin stands
    in for the targeted DLR. ``rand``: APGD on cross-entropy and DLR, each gradient averaged over ``draws`` forwards.
    Its defaults are its definition; a result with others is not an AutoAttack result.
    """

    name = "autoattack"
    source = (
        "Croce and Hein 2020, Reliable evaluation of adversarial robustness with an ensemble of diverse "
        "parameter-free attacks, https://arxiv.org/abs/2003.01690"
    )

    variant: Literal["standard", "rand"] = parameter(
        default="standard", help="which attacks: standard, or rand for models that draw random numbers"
    )
    steps: int = parameter(default=100, help="iterations of each start of APGD and FAB", minimum=1)
    queries: int = parameter(default=5000, help="queries of Square", minimum=1)
    draws: int = parameter(default=20, help="rand: forwards averaged for each gradient and verdict", minimum=1)

    @property
    def iterative(self) -> bool:
        """Tell that many steps are taken."""
        return True

    def passes(self) -> tuple[int, int]:
        """Return the most an image costs, with 9 target classes."""
        steps, targets = self.steps, 9
        if self.variant == "rand":
            return 2 * self.draws * (steps + 2), 2 * self.draws * steps
        forwards = (steps + 1) + targets * (steps + 2) + targets * (2 * steps + 1) + self.queries
        return forwards + 2 + 2 * targets, (1 + 2 * targets) * steps

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the first error found for each image, else its closest miss."""
        from robench import autoattack

        return autoattack(
            model,
            images,
            labels,
            task,
            variant=self.variant,
            steps=self.steps,
            queries=self.queries,
            draws=self.draws,
        )
