"""Auto-PGD, which chooses its own step sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import Attack, SpecError, ThreatModel, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task


class APGD(Attack):
    """Climb the loss with momentum, halving each image's step size where its progress stalls.

    The best iterate counts, not the last: one that errs, else the one of highest loss. ``dlr``, ``dlr-targeted``
    and ``margin`` do not care about the scale of the logits; they need 3, 4 and 2 classes. In L1 steps are sparse, and
    the balls of 3 eps and 2 eps are searched first.
    """

    name = "apgd"
    source = (
        "Croce and Hein 2020, Reliable evaluation of adversarial robustness with an ensemble of diverse "
        "parameter-free attacks, https://arxiv.org/abs/2003.01690, algorithm 1; in L1 Croce and Hein 2021, Mind the "
        "box, https://arxiv.org/abs/2103.01208, algorithms 1 and 2"
    )
    norms = ("Linf", "L2", "L1")
    asks_in_parts = True

    loss: Literal["ce", "ce-scaled", "dlr", "dlr-targeted", "margin"] = parameter(
        default="ce",
        help="what is climbed: cross-entropy, the same with saturated logits rescaled, the difference of logits ratio, "
        "the same towards each target class, or the margin",
    )
    steps: int = parameter(default=100, help="iterations from each start", minimum=1)
    restarts: int = parameter(default=1, help="random starts (of each target class)", minimum=1)
    rho: float = parameter(
        default=0.75, help="share of rising steps below which the step size is halved", minimum=0.0, maximum=1.0
    )
    targets: int = parameter(
        default=9, help="dlr-targeted: how many of the likeliest wrong classes are tried", minimum=1
    )
    draws: int = parameter(
        default=1,
        help="forwards averaged for each gradient and verdict, for a model that draws random numbers",
        minimum=1,
    )
    larger_radii: bool = parameter(
        default=True, help="L1: search the balls of 3 eps and 2 eps first, with 30 % of the steps each", later=True
    )

    @property
    def iterative(self) -> bool:
        """Tell that many steps are taken."""
        return True

    def passes(self) -> tuple[int, int]:
        """Return the most an image costs: a start and every step of every start, and the ranking of targets."""
        targeted = self.loss == "dlr-targeted"
        starts = self.restarts * self.draws * (self.targets if targeted else 1)
        return starts * (self.steps + 1) + targeted, starts * self.steps

    def passes_in(self, threat: ThreatModel) -> tuple[int, int]:
        """Return the most an image costs: in L1 a forward more for each larger ball of each start."""
        forwards, backwards = self.passes()
        starts = forwards // (self.steps + 1)
        return forwards + 2 * starts * (threat.norm == "L1" and self.larger_radii and self.steps > 2), backwards

    def check(self, threat: ThreatModel) -> None:
        """Refuse a parameter that nothing is done with in this norm."""
        super().check(threat)
        if threat.norm == "L1" and self.rho != 0.75:
            raise SpecError(
                f"apgd.rho {self.rho:g} does nothing in L1, where no rising steps are counted; leave it out."
            )
        if threat.norm != "L1" and not self.larger_radii:
            raise SpecError(f"apgd.larger_radii does nothing in {threat.norm}, only in L1; leave it out.")

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return each image's best iterate."""
        from robench import apgd

        return apgd(
            model,
            images,
            labels,
            task,
            loss=self.loss,
            steps=self.steps,
            restarts=self.restarts,
            rho=self.rho,
            targets=self.targets,
            draws=self.draws,
            larger_radii=self.larger_radii,
        )
