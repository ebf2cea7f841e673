"""The indicators of attack failure."""

from __future__ import annotations

from robench import Detector, Evaluated, parameter

#: The words for I1 to I6.
NAMES = (
    "unavailable gradients",
    "unstable predictions",
    "silent success",
    "incomplete optimization",
    "transfer failure",
    "unconstrained attack failure",
)


class AttackFailure(Detector):
    """Compute the six Indicators of Attack Failure from the attack's trace, image by image.

    The attack is run as it is, on one image at a time, and what it asks of the model is its trace. Its own objective is
    not known; the cross-entropy stands for it.
    """

    name = "ioaf"
    source = "Pintor et al. 2022, Indicators of Attack Failure, https://arxiv.org/abs/2106.09947"

    images: int = parameter(default=10, help="images that are looked at; the authors' script takes ten", minimum=1)
    share: float = parameter(
        default=0.1, help="mean over the images above which an indicator is a warning", minimum=0, maximum=1
    )

    def warnings(self, evaluated: Evaluated) -> tuple[str, ...]:
        """Return the indicators whose mean over the images exceeds ``share``; unavailable gradients: on any image."""
        from robench_traps.indicators import indicators

        values = indicators(evaluated, self.images)
        limits = (0.0, *[self.share] * (len(NAMES) - 1))
        return tuple(name for name, value, limit in zip(NAMES, values, limits, strict=True) if value > limit)
