"""An attack for robench: MI-FGSM, as torchattacks has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import Attack, hookimpl, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task

ROBENCH_API = 1


class MomentumFGSM(Attack):
    """Climb the loss along a running sum of normalised gradients: g' = decay g + grad / |grad|_1."""

    name = "mifgsm"
    source = "Dong et al. 2018, Boosting Adversarial Attacks with Momentum, https://arxiv.org/abs/1710.06081"
    norms = ("Linf",)
    iterative = True

    steps: int = parameter(default=10, help="gradient steps of eps / steps, as the paper takes them", minimum=2)
    decay: float = parameter(default=1.0, help="weight of the gradients before", minimum=0)

    def passes(self) -> tuple[int, int]:
        """Return the (forwards, backwards) an image costs."""
        return self.steps, self.steps

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the last iterate; an image whose gradient is exactly 0 stays as it is."""
        from torchattacks import MIFGSM

        eps = task.threat.eps
        attack = MIFGSM(model, eps=eps, alpha=eps / self.steps, steps=self.steps, decay=self.decay)
        moved: Tensor = attack(images, labels)
        # torchattacks divides by the mean absolute gradient: 0 / 0 where a model is saturated.
        return task.threat.project(images, moved.where(moved.isfinite(), images))


@hookimpl
def robench_attacks() -> list[type[Attack]]:
    """Offer the attack."""
    return [MomentumFGSM]
