"""Adversarial patches: a square of any colours, at the place that promises most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import Attack, SpecError, ThreatModel, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task


class Patch(Attack):
    """Paint one square of side eps into each image, at the place that promises most, and climb its pixels.

    The norm is patch and eps a side in pixels: ``--norm patch --eps 5``. Inside the square any colour is allowed, and
    nothing outside changes. Of the places looked at, half are those where a linearised model gains most, the others
    drawn. The best iterate counts, not the last.
    """

    name = "patch"
    source = (
        "Karmon et al. 2018, LaVAN: localized and visible adversarial noise, https://arxiv.org/abs/1801.02608; that "
        "the place is searched, Rao et al. 2020, Adversarial training against location-optimized adversarial patches, "
        "https://arxiv.org/abs/2005.02313"
    )
    norms = ("patch",)
    asks_in_parts = True

    loss: Literal["ce", "ce-scaled", "dlr", "margin"] = parameter(
        default="ce-scaled",
        help="what is climbed: cross-entropy, the same with saturated logits rescaled, the difference of logits ratio, "
        "or the margin",
    )
    steps: int = parameter(default=40, help="iterations at each place", minimum=1)
    places: int = parameter(default=4, help="places of an image where pixels are climbed, one by one", minimum=1)
    tries: int = parameter(default=48, help="places of an image that are looked at, one query each", minimum=1)
    draws: int = parameter(
        default=1,
        help="forwards averaged for each gradient and verdict, for a model that draws random numbers",
        minimum=1,
    )

    @property
    def iterative(self) -> bool:
        """Tell that many steps are taken."""
        return True

    def passes(self) -> tuple[int, int]:
        """Return the most an image costs: one gradient, every place that is looked at, and every step at some."""
        backwards = 1 + self.places * self.steps
        return self.draws * (backwards + self.places + self.tries), self.draws * backwards

    def check(self, threat: ThreatModel) -> None:
        """Refuse to climb at more places than are looked at."""
        super().check(threat)
        if self.places > self.tries:
            raise SpecError(
                f"patch.places {self.places} is more than the {self.tries} places that are looked at; raise "
                "patch.tries."
            )

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return each image with the best square found."""
        from robench import patch

        return patch(
            model,
            images,
            labels,
            task,
            loss=self.loss,
            steps=self.steps,
            places=self.places,
            tries=self.tries,
            draws=self.draws,
        )
