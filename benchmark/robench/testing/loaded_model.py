"""The model under examination as the harness loads it, for as many classes as it can tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from robench.contracts.classifier import Classifier
from robench.contracts.components import Dataset
from robench.contracts.global_generators import seeded_globally
from robench.errors import RobenchError, attributed_to, require
from robench.plugin.catalog import catalog
from robench.runtime.inference import freeze
from robench.testing import fixtures
from robench.testing.component_under_test import NotTried, Subject, may_refuse
from robench.testing.fixtures import LARGE, USUAL, Setting


def loaded(subject: Subject, setting: Setting = USUAL) -> Classifier:
    """Return the model as the harness loads it, once for all checks of a setting."""
    found: Classifier = subject.once(("loaded", setting), lambda: load(subject, setting, 0))
    return found


def load(subject: Subject, setting: Setting, scramble: int) -> Classifier:
    """Return the model as the harness loads it, anew, the global generators seeded with ``scramble``."""
    with may_refuse(), attributed_to(f"loading {subject.name}"), seeded_globally(scramble), subject.untouched():
        model = subject.component.load(setting.task())
    require(
        isinstance(model, Classifier),
        f"{subject.name}.load must return a robench.Classifier, not {type(model).__name__}; wrap the network: "
        "Classifier(network, classes=len(task.classes)).",
    )
    devices = sorted({tensor.device.type for tensor in [*model.parameters(), *model.buffers()]} - {"cpu"})
    require(not devices, f"{subject.name}.load gives tensors on {devices}; load on the CPU, the harness moves them.")
    return freeze(model, "cpu")


def usual(subject: Subject) -> Setting:
    """Return the setting of most checks: USUAL or, where the model's classes are fixed, with as many as it has."""
    found: Setting = subject.once("usual", lambda: _usual(subject))
    return found


def _usual(subject: Subject) -> Setting:
    try:
        model = loaded(subject, USUAL)
    except NotTried as refusal:
        return _taken_instead(subject, refusal)
    return replace(USUAL, classes=answered(model, USUAL))


def _taken_instead(subject: Subject, refusal: NotTried) -> Setting:
    """Return a setting that a model takes which refuses ten classes: of the datasets it names, or 1,000 classes."""
    for classes in dict.fromkeys([*_classes_it_names(subject), LARGE.classes]):
        setting = replace(USUAL, classes=classes)
        with suppress(NotTried):
            loaded(subject, setting)
            return setting
    raise refusal


def _classes_it_names(subject: Subject) -> Iterator[int]:
    """Yield how many classes the datasets have on which the model states its accuracy."""
    known = catalog()
    for origin in type(subject.component).reference:
        offer = known.offers.get(("dataset", origin))
        dataset = None if offer is None else offer.build({})
        if isinstance(dataset, Dataset):
            with suppress(RobenchError):  # its images, and so its classes, may not be here
                yield len(dataset.classes())


@torch.no_grad()
def answered(model: Classifier, setting: Setting) -> int:
    """Return how many logits an image of ``setting`` gets, or the classes asked for where there is no telling."""
    try:
        logits: object = model(fixtures.pictures(setting, 2))
    except Exception:  # whatever it raises: the checks say so
        return model.classes
    return logits.shape[1] if isinstance(logits, Tensor) and logits.dim() == 2 else model.classes
