"""PMG-AFT: adversarial fine-tuning guided by the pre-trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import parameter
from robench_builtins.defenses.shared.clip_fine_tuning import TowerTraining, zero_shot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robench import Classifier, Task, Value
    from robench_builtins.training.objective import Objective


class PmgAFT(TowerTraining):
    """Train the image tower on adversarial images, held near the pre-trained model's answers and its own clean ones.

    L(x, y) = CE(f(x_a), y) + guide * KL(p_org(x_a) || p(x_a)) + keep * KL(p(x) || p(x_a))

    f = cos(image, class texts) / temperature, p = softmax of f; p_org is the model before training, on the same
    adversarial image. x_a climbs CE by PGD on the tower in training. The gradient also reaches p(x).

    The defaults are those of the authors' code for Tiny-ImageNet: eps 1/255, 2 steps of 1/255, SGD at 5e-5 over 10
    epochs at batch 256, cosine; both weights 1, the divergences summed over the batch while CE is its mean
    (reduction=sum), and cosines without a scale (temperature=1; they normalise the scaled text features again). Their
    images are normalised by ImageNet's statistics; here the victim prepares its images itself.
    """

    name = "pmg-aft"
    source = (
        "Wang et al. 2024, Pre-trained Model Guided Fine-Tuning for Zero-Shot Adversarial Robustness (CVPR), "
        "https://arxiv.org/abs/2401.04350"
    )

    guide: float = parameter(default=1.0, help="weight of the divergence from the pre-trained model", minimum=0)
    keep: float = parameter(default=1.0, help="weight of the divergence from the clean answers", minimum=0)
    reduction: Literal["sum", "mean"] = parameter(
        default="sum", help="sum or mean of the divergences over the batch; the cross-entropy is always a mean"
    )
    temperature: float | None = parameter(
        default=1.0, help="temperature of the loss and the attack; none: the victim's own", minimum=1e-4
    )
    eps: float = parameter(
        default=1 / 255, help="Linf radius of the training attack in pixel units", minimum=0, maximum=1
    )
    attack_steps: int = parameter(default=2, help="PGD steps of the training attack", minimum=1)
    epochs: int = parameter(default=10, help="passes over the training images", minimum=1)
    batch_size: int = parameter(default=256, help="images per update", minimum=1)
    optimizer: Literal["adamw", "sgd"] = parameter(default="sgd", help="update rule")
    learning_rate: float = parameter(default=5e-5, help="peak learning rate", minimum=0)
    weight_decay: float = parameter(default=0.0, help="weight decay", minimum=0)

    def objective(self, defended: Classifier, task: Task) -> Objective:
        """Return the guided loss."""
        from robench_builtins.defenses.shared.divergence_objectives import Guided

        clip = zero_shot(defended, self.name)
        temperature = 1 / clip.logit_scale if self.temperature is None else self.temperature
        return Guided(clip, self, temperature, (self.guide, self.keep), self.reduction == "sum")

    def passes(self, images: int) -> tuple[int, int]:
        """Return the passes of a fit: each loss asks for three answers, of which two are learnt from."""
        return self.epochs * images * (self.attack_steps + 6), self.epochs * images * (self.attack_steps + 2)

    def recipe(self) -> Mapping[str, Value]:
        """Return the recipe."""
        return {
            "loss": "CE(f(x_a), y) + guide * KL(p_org(x_a) || p(x_a)) + keep * KL(p(x) || p(x_a))",
            "guide": self.guide,
            "keep": self.keep,
            "reduction": self.reduction,
            "temperature": "the victim's own" if self.temperature is None else self.temperature,
            "adversary": "white-box",
            "eps": self.eps,
            "attack_steps": self.attack_steps,
            "trainable": "full",
        }
