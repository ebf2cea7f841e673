"""Models that are trained on the dataset: the parameters of training, and networks that come without weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from robench import Model, SpecError, Task, WeightsError, parameter

if TYPE_CHECKING:
    from torch import nn

    from robench import Classifier, Examples
    from robench_builtins.models.shared.checkpoint_layouts import State
    from robench_builtins.training.loop import Recipe


class TrainableModel(Model):
    """Train on the dataset, where there are no weights: a part of train is kept for validation.

    The parameters of training have no effect on a model that comes with weights. With a batch_size of all training
    images, or more, an epoch is one step of gradient descent.
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
    lowest_rate: float = parameter(
        default=0.0, later=True, help="training: learning rate below which plateau does not halve", minimum=0
    )

    loss: Literal["cross-entropy", "mse"] = parameter(
        default="cross-entropy",
        later=True,
        help="training: what is minimised; mse: mean squared difference between logits and one-hot labels",
    )
    tolerance: float = parameter(
        default=0.0,
        later=True,
        help="training: stop after an epoch whose mean loss differs by less from the one before; 0: never",
        minimum=0,
    )

    def fit(self, model: Classifier, train: Examples, task: Task) -> None:
        """Train, one checkpoint an epoch; the same seed gives the same bits, interrupted or not."""
        from robench_builtins.training.augmentation import AugmentedLoss
        from robench_builtins.training.loop import TrainingLoop
        from robench_builtins.training.validation import keep_apart

        if not self.validation and (self.patience or self.schedule == "plateau"):
            what = "patience" if self.patience else "schedule=plateau"
            raise SpecError(
                f"{self.name} cannot follow {what} without validation images; give -p {self.name}.validation=0.1, or "
                "leave it out."
            )
        train, kept = keep_apart(train, self.validation, task)
        objective = AugmentedLoss(model, self.augmentation, self.loss)
        TrainingLoop(model, train, task, self._recipe(), objective, validation=kept).run()

    def _recipe(self) -> Recipe:
        from robench_builtins.training.learning_rates import constant, half_cosine
        from robench_builtins.training.loop import Recipe

        return Recipe(
            self.name,
            f"train {self.name}",
            self.epochs,
            self.batch_size,
            self.optimizer,
            self.learning_rate,
            self.momentum,
            self.weight_decay,
            half_cosine if self.schedule == "cosine" else constant,
            self.halve_after if self.schedule == "plateau" else 0,
            self.patience,
            self.tolerance,
            self.lowest_rate,
        )

    def training_passes(self, images: int) -> tuple[int, int]:
        """Return the passes of all epochs, validation included; early stopping may save some."""
        kept = round(self.validation * images)
        return self.epochs * images, self.epochs * (images - kept)


class FromScratch(TrainableModel):
    """Build a network for the dataset's images and classes, and train it there unless it is given weights."""

    checkpoint: str = parameter(
        default="",
        help="weights as .safetensors or .pt; empty: drawn from the seed and trained on the dataset",
        path=True,
    )

    def files(self) -> tuple[Path, ...]:
        """Return the file, if one is named."""
        return (Path(self.checkpoint).expanduser(),) if self.checkpoint else ()

    def untrained(self) -> bool:
        """Tell whether the weights are drawn."""
        return not self.checkpoint

    def network(self, task: Task) -> nn.Module:
        """Return the network, drawn from torch's global generator."""
        raise NotImplementedError

    def preprocess(self, task: Task) -> nn.Module | None:
        """Return what happens to images in [0, 1] before the network; None leaves them as they are."""
        return None

    def load(self, task: Task) -> Classifier:
        """Return the classifier, with the file's weights or with drawn ones."""
        from robench import Classifier

        with drawn(task):
            network = self.network(task)
        if self.checkpoint:
            self._take(network, task)
        return Classifier(network, len(task.classes), self.preprocess(task)).eval()

    def read(self) -> State:
        """Return the file's tensors under the network's names."""
        from robench_builtins.models.shared.state_dict import read_state

        return read_state(self.files()[0], "victim.checkpoint")

    def _take(self, network: nn.Module, task: Task) -> None:
        state = self.read()
        task.note(state.noted(self.checkpoint))
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            shape = " x ".join(map(str, task.shape))
            reason = " ".join(str(error).split())
            raise WeightsError(
                f"{self.checkpoint} does not fit {self.name} for {len(task.classes)} classes of images {shape} "
                f"({reason[:300]}); give weights of this very architecture, or its parameters as they were in training."
            ) from error


class UntilPlateau(FromScratch):
    """Halve the rate where validation stands still and stop there, as the plant-disease reports trained."""

    size: int = parameter(default=64, help="side in pixels to which images are resized", minimum=1)
    epochs: int = parameter(default=100, help="training: passes over the training images", minimum=1)
    schedule: Literal["constant", "cosine", "plateau"] = parameter(
        default="plateau",
        help="training: learning rate; cosine: to 0 over the updates; plateau: halved where validation stands still",
    )
    patience: int = parameter(
        default=10,
        help="training: epochs without a lower validation loss before it stops and takes the best weights; 0: never",
        minimum=0,
    )

    def preprocess(self, task: Task) -> nn.Module:
        """Resize, and bring [0, 1] to [-1, 1]; one channel becomes three."""
        from robench import Preprocess

        return Preprocess((0.5,) * 3, (0.5,) * 3, self.size)


@contextmanager
def drawn(task: Task) -> Iterator[None]:
    """Let torch's modules, which draw from the global generator, draw from the task's seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.fork("initial values").seed)
        yield


def widths(owner: str, text: str) -> list[int]:
    """Return the numbers in ``text``, such as ``32,16`` (or ``32-16``, for names in brackets)."""
    words = [word for word in re.split(r"[\s,+x-]+", text) if word]
    if not all(word.isdigit() and int(word) for word in words):
        raise SpecError(f"{owner} takes whole numbers above 0, separated by commas or -, such as 32,16; not '{text}'.")
    return list(map(int, words))
