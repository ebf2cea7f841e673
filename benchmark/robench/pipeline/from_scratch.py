"""A model's own training in the shape of a defense, so that one stage fits both and records the same evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robench.contracts.classifier import Classifier
from robench.contracts.components import Defense, Model
from robench.contracts.examples import Examples
from robench.contracts.parameters import Value
from robench.contracts.task import Task


def training_as_defense(model: Model) -> Defense:
    """Return the training of a model that comes without weights: every parameter is declared trainable."""

    class FromScratch(Defense):
        """Train a model from scratch."""

        name = model.name

        def wrap(self, victim: Classifier, task: Task) -> Classifier:
            return victim.requires_grad_(True)

        def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
            model.fit(defended, train, task)

        def recipe(self) -> Mapping[str, Value]:
            values: dict[str, Any] = dict(model.parameters)
            return {"model": model.name, **values}

    return FromScratch()
