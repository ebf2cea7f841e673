"""What the trained defenses of any classifier share: where they start, what they train, what a batch holds.

Nothing here imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import parameter
from robench_builtins.defenses.shared.clip_fine_tuning import cross_entropy_recipe
from robench_builtins.defenses.shared.trained_defense import AdversarialDefense, TrainedDefense

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robench import Classifier, Task, Value
    from robench_builtins.training.objective import Objective


class ClassifierTraining(TrainedDefense):
    """Train all of a classifier, or of the image tower of a CLIP, whose class texts stay.

    Images are crafted in eval mode, as they are when the model is attacked, and the updates let batch norms
    gather statistics of the images they learn.
    """

    gathers = True
    statistics = ("running_mean", "running_var", "num_batches_tracked")

    start: Literal["victim", "scratch"] = parameter(
        default="victim", help="begin with the victim's weights, or draw all of them anew"
    )

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Return the victim with gradients on for what is trained."""
        from robench_builtins.defenses.shared.layer_selection import redraw, train_layers

        if self.start == "scratch":
            redraw(victim, task.fork("start").seed, self.name)
        train_layers(victim, task.shape, self.frozen_layers(), self.last_layers(), self.name)
        return victim

    def frozen_layers(self) -> tuple[str, ...]:
        """Return the layers, or patterns of them, that stay as they are."""
        return ()

    def last_layers(self) -> int | None:
        """Return how many of the last layers are trained; None: all."""
        return None


class SteppedSgd(ClassifierTraining):
    """Train by SGD whose rate falls to a tenth at stated parts of the updates, as the authors' CIFAR-10 codes do."""

    epochs: int = parameter(default=20, help="passes over the training images", minimum=1)
    batch_size: int = parameter(default=128, help="images per update", minimum=1)
    optimizer: Literal["adamw", "sgd"] = parameter(default="sgd", help="update rule")
    learning_rate: float = parameter(default=0.1, help="peak learning rate", minimum=0)
    weight_decay: float = parameter(default=2e-4, help="weight decay", minimum=0)
    schedule: Literal["onecycle", "cosine", "triangular", "step", "constant"] = parameter(
        default="step", help="learning rate over the updates; step: a tenth at each of decay_at"
    )


class Mixed(ClassifierTraining):
    """Train on batches of which a share stays clean."""

    mix: float = parameter(
        default=0.0,
        help="share of each batch that stays clean, whole images at a time",
        minimum=0,
        maximum=1,
    )


class AdversarialTraining(Mixed, AdversarialDefense):
    """Minimise the cross-entropy on white-box adversarial images of the model in training."""

    def objective(self, defended: Classifier, task: Task) -> Objective:
        """Return the cross-entropy on images moved by PGD."""
        from robench_builtins.defenses.shared.cross_entropy_objectives import AdversarialCrossEntropy

        return AdversarialCrossEntropy(defended, self, defended, self.mix)

    def passes(self, images: int) -> tuple[int, int]:
        """Return the passes of a fit; the share that stays clean is not attacked."""
        steps = self.attack_steps * (images - int(self.mix * images))
        return self.epochs * (2 * images + steps), self.epochs * (images + steps)

    def recipe(self) -> Mapping[str, Value]:
        """Return the recipe; on a CLIP it equals that of TeCoA with trainable=full."""
        return self.supervised_recipe()

    def supervised_recipe(self, **trained: Value) -> Mapping[str, Value]:
        """Return the recipe, with what it has beyond plain adversarial training."""
        extra: dict[str, Value] = {"mix": self.mix} if self.mix else {}
        if self.start == "scratch":
            extra["start"] = "scratch"
        return cross_entropy_recipe(
            "cross-entropy of the victim's logits",
            "the victim's own",
            "white-box",
            self.eps,
            self.attack_steps,
            {"trainable": "full", **extra, **trained},
        )
