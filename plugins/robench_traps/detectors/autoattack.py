"""The warnings of AutoAttack."""

from __future__ import annotations

from typing import ClassVar

from robench import Detector, Evaluated, parameter


class AutoAttackFlags(Detector):
    """Ask for AutoAttack's five warnings: randomised, softmax output, zero gradient, dynamic, Square."""

    name = "autoattack-flags"
    source = "Croce and Hein 2020, Reliable evaluation of adversarial robustness, https://arxiv.org/abs/2003.01690"
    model_only: ClassVar[bool] = True

    images: int = parameter(default=24, help="images that are looked at", minimum=1)

    def warnings(self, evaluated: Evaluated) -> tuple[str, ...]:
        """Return the warnings, by the definitions and thresholds of AutoAttack's own code."""
        from robench_traps.flags import flags

        return flags(evaluated.model, evaluated.test[: self.images], evaluated.task)
