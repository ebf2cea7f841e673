"""FARE: robust features without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import parameter
from robench_builtins.defenses.shared.clip_fine_tuning import FEATURES, TowerTraining, zero_shot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robench import Classifier, Task, Value
    from robench_builtins.training.objective import Objective


class Fare(TowerTraining):
    """Train the image tower so that adversarial features stay where the original clean ones are.

    L(x) = max over |z - x|_inf <= eps of |phi(z) - phi_org(x)|_2^2                          (eq. 3)

    phi(x) is (D,), the image embedding before it is normalised; phi_org is the tower before training, frozen. The
    square is summed over D and averaged over the batch. Neither labels nor class texts are used, so whatever
    CLIP could do it goes on doing.

    The defaults are the authors' (eps 2/255, or 4/255; 10 steps of 1/255 from a uniform start; AdamW at 1e-5, 2 epochs
    of ImageNet at batch 128, 7 % of it warm-up, then cosine). Their momentum, sign(0.9 v + sign(g)), is sign(g)
    wherever the gradient is not exactly 0, and left out.
    """

    name = "fare"
    source = (
        "Schlarmann, Singh, Croce and Hein 2024, Robust CLIP: Unsupervised Adversarial Fine-Tuning of Vision "
        "Embeddings for Robust Large Vision-Language Models (ICML), equation 3, https://arxiv.org/abs/2402.12336"
    )
    use = FEATURES
    gathers = True
    statistics = ("running_mean", "running_var", "num_batches_tracked")

    eps: float = parameter(
        default=2 / 255, help="Linf radius of the training attack in pixel units", minimum=0, maximum=1
    )
    attack_steps: int = parameter(default=10, help="steps of the training attack", minimum=1)
    epochs: int = parameter(default=2, help="passes over the training images", minimum=1)
    batch_size: int = parameter(default=128, help="images per update", minimum=1)
    learning_rate: float = parameter(default=1e-5, help="peak learning rate", minimum=0)
    warmup: float = parameter(
        default=0.07, help="part of the updates in which the learning rate rises", minimum=0, maximum=0.9
    )

    def objective(self, defended: Classifier, task: Task) -> Objective:
        """Return the squared distance of features."""
        from robench_builtins.defenses.shared.divergence_objectives import Fare as Distance

        return Distance(zero_shot(defended, self.name), self)

    def passes(self, images: int) -> tuple[int, int]:
        """Return the passes of a fit: those of adversarial training, and the original features."""
        forwards, backwards = super().passes(images)
        return forwards + self.epochs * images, backwards

    def recipe(self) -> Mapping[str, Value]:
        """Return the recipe."""
        return {
            "loss": "|phi(x_a) - phi_org(x)|^2 over image features",
            "temperature": None,
            "adversary": "white-box, climbing the distance",
            "eps": self.eps,
            "attack_steps": self.attack_steps,
            "trainable": "full",
        }
