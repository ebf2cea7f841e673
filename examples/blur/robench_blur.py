"""A defense for robench: smooth the input before the victim sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import Defense, hookimpl, parameter

if TYPE_CHECKING:
    from robench import Classifier, Task

ROBENCH_API = 1


class Blur(Defense):
    """Smooth the image with a Gaussian before the victim sees it: f(G_sigma * x)."""

    name = "blur"
    source = "a low-pass filter, the simplest input transformation"

    sigma: float = parameter(default=1.0, help="standard deviation in pixels", minimum=0.1)

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Return the victim behind a Gaussian filter; gradients pass through it exactly."""
        from torch import nn
        from torchvision.transforms.v2 import GaussianBlur

        size = 2 * round(3 * self.sigma) + 1
        victim.preprocess = nn.Sequential(GaussianBlur(size, self.sigma), victim.preprocess)
        return victim


@hookimpl
def robench_defenses() -> list[type[Defense]]:
    """Offer the defense."""
    return [Blur]
