"""Gaussian noise: the control that no attack may lose to."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from robench import Attack, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task


class GaussianNoise(Attack):
    """Add independent normal noise to each pixel and move the image back to the ball: no attack, but its control.

    x' = P(x + std * n), n ~ N(0, 1). By default the noise is as large as the ball: in Linf std = eps and each pixel is
    cut off at eps; in L2 and L1 the noise is scaled to length eps. That is ``noise[distribution=gaussian]``, under
    the name that tables give it; ``noise`` also draws often and keeps the best, and has other distributions.
    torchattacks' GN has std 0.1 and no ball.
    """

    name = "gaussian-noise"
    source = (
        "the random-noise control that Carlini et al. 2019 ask for, On Evaluating Adversarial Robustness, "
        "https://arxiv.org/abs/1902.06705"
    )
    norms = ("Linf", "L2", "L1")
    queries_only: ClassVar[bool] = True

    std: float | None = parameter(
        default=None, help="standard deviation in pixel units; none: as large as the ball", minimum=0.0
    )

    def passes(self) -> tuple[int, int]:
        """Return that the model is not asked."""
        return 0, 0

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return one noisy version of each image."""
        from robench import noise

        if self.std is None or task.threat.eps == 0:
            return noise(model, images, labels, task, distribution="gaussian")
        return task.threat.project(images, images + self.std * task.normal(images, "noise", 0))
