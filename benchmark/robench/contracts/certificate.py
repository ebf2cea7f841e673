"""What proves that images stand: the lower end of the bracket whose upper end attacks are."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from robench.contracts.components import Component, Defense
from robench.contracts.threat_model import Norm, ThreatModel
from robench.errors import SpecError

if TYPE_CHECKING:
    from torch import Tensor

    from robench.contracts.classifier import Classifier
    from robench.contracts.task import Task


class Certificate(Component):
    """Prove of images that nothing in the ball around them is answered otherwise than by their label.

    An attack shows which images fall, a certificate which stand; of the others nobody knows. The harness counts both,
    and a certified image that falls to any attack makes the row INVALID, whoever erred.
    """

    #: The norms in which it knows a bound.
    norms: ClassVar[tuple[Norm, ...]] = ("Linf", "L2")
    #: True if it speaks of defenses that answer by chance, of the answer that comes most often; False if of the others.
    randomized: ClassVar[bool] = False

    @property
    def error(self) -> float:
        """Return the most probability with which one image is certified wrongly; 0 for a proof."""
        return 0.0

    def passes_in(self, threat: ThreatModel) -> tuple[int, int]:
        """Return the most (forwards, backwards) one image can cost, for ``--dry-run``; bounds read the layers."""
        return 0, 0

    def check(self, threat: ThreatModel) -> None:
        """Raise SpecError if it knows no bound under ``threat``; called before any work."""
        if threat.norm not in self.norms:
            raise SpecError(f"{self.name} certifies in {' and '.join(self.norms)}, not in {threat.norm}.")

    def covers(self, defense: Defense) -> bool:
        """Tell whether it speaks of what this defense makes of a victim; others of the run are left without it."""
        return bool(defense.randomized) is bool(self.randomized)

    def certify(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return for which images (N,) bool no point of the ball and the box is answered by another class.

        Args:
            model: the defended victim as fitted, float32, in eval mode, parameter gradients off; it may be read.
            images: (N, C, H, W) in [0, 1] at the dataset's resolution.
            labels: (N,) true classes; an image that is answered wrongly as it is cannot be certified.
            task: the threat model in ``task.threat``; per-image randomness from ``task.uniform``.

        Raise ContractError, in a sentence, for a model of which it knows no bound. Where in doubt say False.
        """
        raise NotImplementedError
