"""Fast adversarial training: one step from a random start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import parameter
from robench_builtins.defenses.shared.adversarial_training import AdversarialTraining

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robench import Value


class FgsmAT(AdversarialTraining):
    """Train on the images that one large step from a random start makes worse.

    d = Uniform(-eps, eps);  d = clip(d + alpha * sign(grad CE(f(x + d), y)), -eps, eps);    (algorithm 3)
    theta = theta - rate * grad CE(f(x + d), y)

    The defaults are those of the authors' CIFAR-10 code: eps 8/255, alpha 1.25 eps = 10/255, 15 epochs, rate up to
    0.2 and back to 0; it trained from scratch (start=scratch) and crafted in train mode, where images are crafted in
    eval mode here. ``random_start=false`` is FGSM training as it was before: d = eps * sign(grad CE(f(x), y)).
    Steps that are too large overfit to one step (catastrophic overfitting): the accuracy under PGD falls to nothing
    while that under FGSM rises, so look at both. A network without batch norms wants a smaller learning_rate.
    """

    name = "fgsm-at"
    source = (
        "Wong, Rice and Kolter 2020, Fast Is Better than Free: Revisiting Adversarial Training (ICLR), algorithm 3, "
        "https://arxiv.org/abs/2001.03994"
    )

    attack_steps: int = parameter(default=1, help="steps of the training attack; more than one is pgd-at", minimum=1)
    step_size: float | None = parameter(
        default=None, help="alpha of the training attack in pixel units; none: 1.25 * eps", minimum=0
    )
    random_start: bool = parameter(
        default=True, later=True, help="begin the step at a random point of the ball; false: at the image, by eps"
    )
    epochs: int = parameter(default=15, help="passes over the training images", minimum=1)
    batch_size: int = parameter(default=128, help="images per update", minimum=1)
    optimizer: Literal["adamw", "sgd"] = parameter(default="sgd", help="update rule")
    learning_rate: float = parameter(default=0.2, help="peak learning rate", minimum=0)
    weight_decay: float = parameter(default=5e-4, help="weight decay", minimum=0)
    schedule: Literal["onecycle", "cosine", "triangular", "step", "constant"] = parameter(
        default="triangular", help="learning rate over the updates; triangular: linear up and down"
    )
    warmup: float = parameter(
        default=0.5, help="part of the updates in which the learning rate rises", minimum=0, maximum=0.9
    )

    def step(self) -> float:
        """Return the step: by default a quarter more than the radius, to reach corners; without one, the radius."""
        if self.step_size is not None:
            return self.step_size
        return 1.25 * self.eps if self.random_start else self.eps

    def starts_at_random(self) -> bool:
        """Tell what the parameter says."""
        return self.random_start

    def recipe(self) -> Mapping[str, Value]:
        """Return the recipe, with the step, which is the method here."""
        start = {} if self.random_start else {"random_start": False}
        return self.supervised_recipe(step_size=self.step(), **start)
