"""AutoAttack, the reference that robust accuracies are compared under."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import Attack, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task, ThreatModel


class AutoAttack(Attack):
    """Run four unlike attacks in a row, each on the images that withstood those before.

    ``standard``: APGD on cross-entropy, APGD on the targeted DLR loss and targeted FAB for the 9 likeliest wrong
    classes (all of them if there are fewer), and Square. With 3 classes the untargeted DLR, with 2 the margin stands
    in for the targeted DLR. ``rand``: APGD on cross-entropy and DLR, each gradient averaged over ``draws`` forwards. In
    L1, as in the official code, APGD begins in the balls of 3 eps and 2 eps, starts five times on cross-entropy and
    aims at the 5 likeliest wrong classes. Its defaults are its definition; a result with others is not an AutoAttack
    result.
    """

    name = "autoattack"
    source = (
        "Croce and Hein 2020, Reliable evaluation of adversarial robustness with an ensemble of diverse "
        "parameter-free attacks, https://arxiv.org/abs/2003.01690; in L1 Croce and Hein 2021, Mind the box, "
        "https://arxiv.org/abs/2103.01208"
    )

    norms = ("Linf", "L2", "L1")
    asks_in_parts = True

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

    def passes_in(self, threat: ThreatModel) -> tuple[int, int]:
        """Return the most an image costs, with 9 target classes, of which APGD aims at 5 in L1."""
        if threat.norm != "L1" or self.variant == "rand":
            return self.passes()
        steps, targets, aimed_at, restarts = self.steps, 9, 5, 5
        start = steps + (3 if steps > 2 else 1)
        forwards = restarts * start + aimed_at * (start + 1) + targets * (2 * steps + 1) + self.queries
        return forwards + 2 + aimed_at + targets, (restarts + aimed_at + targets) * steps

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
