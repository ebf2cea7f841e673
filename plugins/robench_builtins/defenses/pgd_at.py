"""PGD adversarial training: the baseline that every other defense is held against."""

from __future__ import annotations

from typing import Literal

from robench import parameter
from robench_builtins.defenses.shared.adversarial_training import AdversarialTraining


class PgdAT(AdversarialTraining):
    """Train on the images that many small steps make worst.

    theta = argmin of E max over |d|_inf <= eps of CE(f(x + d), y)                           (eq. 2.1)
    The inner maximum is climbed by PGD from a uniform start: x <- P(x + alpha * sign(grad)).

    The defaults are those of the authors' CIFAR-10 code (eps 8/255, 10 steps of 2/255, SGD, rate 0.1 to a tenth at
    1/2 and 3/4 of the updates), but for the length: it trained from scratch for 80,000 updates of 128, so
    start=scratch, epochs=205 there. A network without batch norms wants a smaller learning_rate.
    """

    name = "pgd-at"
    source = (
        "Madry et al. 2018, Towards Deep Learning Models Resistant to Adversarial Attacks (ICLR), equation 2.1, "
        "https://arxiv.org/abs/1706.06083"
    )

    attack_steps: int = parameter(default=10, help="PGD steps of the training attack", minimum=1)
    epochs: int = parameter(default=20, help="passes over the training images", minimum=1)
    batch_size: int = parameter(default=128, help="images per update", minimum=1)
    optimizer: Literal["adamw", "sgd"] = parameter(default="sgd", help="update rule")
    learning_rate: float = parameter(default=0.1, help="peak learning rate", minimum=0)
    weight_decay: float = parameter(default=2e-4, help="weight decay", minimum=0)
    schedule: Literal["onecycle", "cosine", "triangular", "step", "constant"] = parameter(
        default="step", help="learning rate over the updates; step: a tenth at each of decay_at"
    )
