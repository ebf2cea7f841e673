"""TRADES: accuracy on clean images, and answers that stay the same around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import parameter
from robench_builtins.defenses.shared.adversarial_training import SteppedSgd
from robench_builtins.defenses.shared.trained_defense import AdversarialDefense

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robench import Classifier, Task, Value
    from robench_builtins.training.objective import Objective


class TradesAT(SteppedSgd, AdversarialDefense):
    """Train for clean accuracy and, ``beta`` times, for equal answers to the image and its worst neighbour.

    L(x, y) = CE(f(x), y) + beta * KL(p(x) || p(x_a)),  p = softmax of f                          (algorithm 1)
    x_a = argmax of KL(p(x) || p(x')) over |x' - x|_inf <= eps, by sign steps from x + 0.001 N(0, 1), the model in
    eval mode. Both terms are means over the batch; the gradient reaches p(x) and p(x_a).

    Every image is learnt clean and adversarial already, in the proportion that beta says, so there is no ``mix``.
    The defaults are those of the authors' CIFAR-10 code (eps 0.031, 10 steps of 0.007, beta 6, SGD, rate 0.1, a
    tenth in the last of 76 epochs), but for its length and start: start=scratch, epochs=76 there. The start is
    clamped to [0, 1], where they let it lie outside by a thousandth.
    """

    name = "trades"
    source = (
        "Zhang et al. 2019, Theoretically Principled Trade-off between Robustness and Accuracy (ICML), algorithm 1, "
        "https://arxiv.org/abs/1901.08573"
    )

    beta: float = parameter(default=6.0, help="weight of the divergence (1 / lambda in the paper)", minimum=0)
    eps: float = parameter(
        default=0.031, help="Linf radius of the training attack in pixel units", minimum=0, maximum=1
    )
    attack_steps: int = parameter(default=10, help="steps of the training attack", minimum=1)
    step_size: float | None = parameter(
        default=0.007,
        help="alpha of the training attack in pixel units; none: 2.5 * eps / steps, at most 0.75 * eps",
        minimum=0,
    )
    decay_at: str = parameter(
        default="75/76", help="parts of the updates after which schedule=step takes a tenth; others ignore it"
    )

    def objective(self, defended: Classifier, task: Task) -> Objective:
        """Return the TRADES loss."""
        from robench_builtins.defenses.shared.divergence_objectives import Trades

        return Trades(defended, self, self.beta)

    def passes(self, images: int) -> tuple[int, int]:
        """Return the passes of a fit: each loss asks for two answers, and the attack for the clean one."""
        return self.epochs * images * (self.attack_steps + 5), self.epochs * images * (self.attack_steps + 2)

    def recipe(self) -> Mapping[str, Value]:
        """Return the recipe."""
        return {
            "loss": "CE(f(x), y) + beta * KL(p(x) || p(x_a))",
            "beta": self.beta,
            "temperature": "the victim's own",
            "adversary": "white-box, climbing the divergence",
            "eps": self.eps,
            "attack_steps": self.attack_steps,
            "trainable": "full",
            "start": self.start,
        }
