"""train: give a model that comes without weights its weights, once, on the dataset's training split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from robench.classifier import Classifier
from robench.contracts import Defense, Model
from robench.evidence.store import Store
from robench.examples import Examples
from robench.parameters import Value
from robench.stages.fit import Fitted, fit
from robench.task import Task


def train(
    model: Model, classifier: Classifier, images: Callable[[], Examples], task: Task, store: Store, key: str
) -> Fitted:
    """Return the trained classifier: from the store if it is there, else trained and stored, like a defense's fit.

    Args:
        model: says how it is trained.
        classifier: what its ``load`` returned; left untouched.
        images: loads the training split.
        task: carries the stage's seed, device and progress.
        store: where the weights are kept.
        key: their fingerprint.
    """
    return fit(_schooling(model), classifier, images, task, store, key)


def _schooling(model: Model) -> Defense:
    """Return the model's training in the shape of a defense that trains every parameter of the victim."""

    class Schooling(Defense):
        """Train a model from scratch."""

        name = model.name

        def wrap(self, victim: Classifier, task: Task) -> Classifier:
            return victim.requires_grad_(True)

        def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
            model.fit(defended, train, task)

        def recipe(self) -> Mapping[str, Value]:
            values: dict[str, Any] = dict(model.parameters)
            return {"model": model.name, **values}

    return Schooling()
