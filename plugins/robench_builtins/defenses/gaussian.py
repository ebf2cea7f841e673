"""Training under Gaussian noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import parameter
from robench_builtins.defenses.shared.adversarial_training import Mixed, SteppedSgd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robench import Classifier, Task, Value
    from robench_builtins.training.objective import Objective


class Gaussian(SteppedSgd, Mixed):
    """Train on images under fresh Gaussian noise, which is no attack.

    theta = argmin of E CE(f(clip(x + sigma * n, 0, 1)), y),  n ~ N(0, 1) for each pixel

    It is the base of randomized smoothing (sigma 0.12, 0.25, 0.5 or 1.0), here without the vote at test time, and
    clamped, since a model is given images in [0, 1]. Noise is not the worst case: measure it under PGD.
    The defaults are those of the authors' code (SGD, rate 0.1 to a tenth at each third of 90 epochs, batch 256),
    which trained from scratch (start=scratch). A network without batch norms wants a smaller learning_rate.
    """

    name = "gaussian"
    source = (
        "Cohen, Rosenfeld and Kolter 2019, Certified Adversarial Robustness via Randomized Smoothing (ICML), "
        "section 3.3, https://arxiv.org/abs/1902.02918"
    )

    sigma: float = parameter(default=0.25, help="standard deviation of the noise in pixel units", minimum=0, maximum=2)
    epochs: int = parameter(default=90, help="passes over the training images", minimum=1)
    batch_size: int = parameter(default=256, help="images per update", minimum=1)
    weight_decay: float = parameter(default=1e-4, help="weight decay", minimum=0)
    decay_at: str = parameter(
        default="1/3 2/3", help="parts of the updates after which schedule=step takes a tenth; others ignore it"
    )

    def objective(self, defended: Classifier, task: Task) -> Objective:
        """Return the cross-entropy on noisy images."""
        from robench_builtins.defenses.shared.cross_entropy_objectives import NoisyCrossEntropy

        return NoisyCrossEntropy(defended, self.sigma, self.mix)

    def passes(self, images: int) -> tuple[int, int]:
        """Return the passes of a fit: per epoch a clean forward and the update."""
        return 2 * self.epochs * images, self.epochs * images

    def recipe(self) -> Mapping[str, Value]:
        """Return the recipe."""
        return {
            "loss": "cross-entropy of the victim's logits",
            "temperature": "the victim's own",
            "adversary": "Gaussian noise",
            "sigma": self.sigma,
            "mix": self.mix,
            "trainable": "full",
            "start": self.start,
        }
