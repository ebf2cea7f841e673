"""PGD adversarial training: the baseline that every other defense is held against."""

from __future__ import annotations

from robench import parameter
from robench_builtins.defenses.shared.adversarial_training import AdversarialTraining, SteppedSgd


class PgdAT(SteppedSgd, AdversarialTraining):
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
