"""What every trained defense shares: the parameters of the updates, and how a fit begins.

Nothing here imports torch; the loop itself is in ``training/loop.py``.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from robench import Defense, SpecError, parameter

if TYPE_CHECKING:
    from robench import Classifier, Examples, Task
    from robench_builtins.training.loop import TrainingLoop
    from robench_builtins.training.objective import Objective


class TrainedDefense(Defense):
    """Minimise an objective over the training images, in mini-batches.

    A subclass says which parameters (``wrap``) and what is minimised on which images (``objective``).
    """

    #: True if batch norms with trained parameters gather statistics in updates; crafting never changes any.
    gathers: ClassVar[bool] = False

    epochs: int = parameter(default=3, help="passes over the training images", minimum=1)
    batch_size: int = parameter(default=64, help="images per update", minimum=1)
    optimizer: Literal["adamw", "sgd"] = parameter(default="adamw", help="update rule")
    learning_rate: float = parameter(default=1e-4, help="peak learning rate", minimum=0)
    weight_decay: float = parameter(default=1e-4, help="weight decay", minimum=0)
    momentum: float = parameter(default=0.9, help="momentum of sgd; adamw ignores it", minimum=0, maximum=1)
    schedule: Literal["onecycle", "cosine", "triangular", "step", "constant"] = parameter(
        default="onecycle",
        help="learning rate over the updates: cosine up and down, linear up and cosine to 0, linear up and down, "
        "a tenth at each of decay_at, or constant",
    )
    warmup: float = parameter(
        default=0.15,
        help="part of the updates in which the learning rate rises; step and constant ignore it",
        minimum=0,
        maximum=0.9,
    )
    decay_at: str = parameter(
        default="0.5 0.75", help="parts of the updates after which schedule=step takes a tenth; others ignore it"
    )

    def objective(self, defended: Classifier, task: Task) -> Objective:
        """Return what is minimised on which images."""
        raise NotImplementedError

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Train, one checkpoint an epoch; the same seed gives the same bits, interrupted or not."""
        self.loop(defended, train, task).run()

    def loop(self, defended: Classifier, train: Examples, task: Task) -> TrainingLoop:
        """Return the loop that trains the parameters whose gradients are on."""
        from robench_builtins.training.learning_rates import rate_factor
        from robench_builtins.training.loop import Recipe, TrainingLoop
        from robench_builtins.training.model_modes import gathering_norms

        recipe = Recipe(
            self.name,
            self.name,
            self.epochs,
            self.batch_size,
            self.optimizer,
            self.learning_rate,
            self.momentum,
            self.weight_decay,
            partial(rate_factor, self.schedule, self.warmup, decays=self.decays()),
        )
        norms = gathering_norms(defended) if self.gathers else {}
        return TrainingLoop(defended, train, task, recipe, self.objective(defended, task), norms=norms)

    def decays(self) -> tuple[float, ...]:
        """Return ``decay_at`` as numbers, none where the schedule has no use for them."""
        if self.schedule != "step":
            return ()
        try:
            parts = tuple(float(Fraction(part)) for part in words(self.decay_at))
        except (ValueError, ZeroDivisionError):
            parts = (math.nan,)
        if not parts or not all(0 < part < 1 for part in parts):
            raise SpecError(
                f"{self.name}.decay_at is '{self.decay_at}'; give parts of the updates between 0 and 1, such as "
                "'0.5 0.75'."
            )
        return parts


class AdversarialDefense(TrainedDefense):
    """Train on images that an attack has moved."""

    eps: float = parameter(
        default=8 / 255, help="Linf radius of the training attack in pixel units", minimum=0, maximum=1
    )
    attack_steps: int = parameter(default=5, help="PGD steps of the training attack", minimum=1)
    step_size: float | None = parameter(
        default=None,
        help="alpha of the training attack in pixel units; none: 2.5 * eps / steps, at most 0.75 * eps",
        minimum=0,
    )

    def passes(self, images: int) -> tuple[int, int]:
        """Return the passes of a fit: per epoch a clean forward, the attack's steps, and the update."""
        return self.epochs * images * (self.attack_steps + 2), self.epochs * images * (self.attack_steps + 1)

    def step(self) -> float:
        """Return the step of the training attack in pixel units."""
        if self.step_size is not None:
            return self.step_size
        return self.eps * (min(2.5 / self.attack_steps, 0.75) if self.attack_steps > 1 else 2.5)

    def starts_at_random(self) -> bool:
        """Tell whether the training attack begins at a random point of the ball."""
        return True


def words(text: str) -> tuple[str, ...]:
    """Return the names in ``text``, which spaces, commas or + separate; brackets leave no room for commas."""
    return tuple(text.replace(",", " ").replace("+", " ").split())
