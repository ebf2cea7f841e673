"""What models that are trained from scratch share: the recipe's parameters. The loop itself is in ``schooling.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import Model, SpecError, parameter

if TYPE_CHECKING:
    from robench import Classifier, Examples, Task


class Supervised(Model):
    """Train on the dataset with cross-entropy, where there are no weights: a part of train is kept for validation.

    The parameters of training have no effect on a model that comes with weights.
    """

    epochs: int = parameter(default=20, help="training: passes over the training images", minimum=1)
    batch_size: int = parameter(default=128, help="training: images per update", minimum=2)
    optimizer: Literal["adamw", "adam", "sgd"] = parameter(default="adamw", help="training: update rule")
    learning_rate: float = parameter(default=1e-3, help="training: learning rate at the start", minimum=0)
    momentum: float = parameter(default=0.9, help="training: momentum of sgd; others ignore it", minimum=0, maximum=1)
    weight_decay: float = parameter(default=1e-4, help="training: weight decay", minimum=0)
    schedule: Literal["constant", "cosine", "plateau"] = parameter(
        default="constant",
        help="training: learning rate; cosine: to 0 over the updates; plateau: halved where validation stands still",
    )
    halve_after: int = parameter(
        default=3, help="training: epochs without a lower validation loss before plateau halves the rate", minimum=1
    )
    validation: float = parameter(
        default=0.1, help="training: share of the train split kept for validation", minimum=0, maximum=0.9
    )
    patience: int = parameter(
        default=0,
        help="training: epochs without a lower validation loss before it stops; the best weights are then taken, as "
        "they are if it never stops; 0: the last weights of all epochs",
        minimum=0,
    )
    augmentation: Literal["none", "flip", "crop+flip"] = parameter(
        default="none",
        help="training: flip mirrors half of the images; crop+flip also shifts each by up to an eighth of its side",
    )

    def fit(self, model: Classifier, train: Examples, task: Task) -> None:
        """Train, one checkpoint an epoch; the same seed gives the same bits, interrupted or not."""
        from robench_builtins.training.from_scratch_loop import Schooling

        if not self.validation and (self.patience or self.schedule == "plateau"):
            what = "patience" if self.patience else "schedule=plateau"
            raise SpecError(
                f"{self.name} cannot follow {what} without validation images; give -p {self.name}.validation=0.1, or "
                "leave it out."
            )
        Schooling(model, train, task, self).run()

    def training_passes(self, images: int) -> tuple[int, int]:
        """Return the passes of all epochs, validation included; early stopping may save some."""
        kept = round(self.validation * images)
        return self.epochs * images, self.epochs * (images - kept)
