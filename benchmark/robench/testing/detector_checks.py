"""Checks of a detector: what it returns, and what it leaves alone."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from robench.contracts.classifier import Classifier
from robench.contracts.components import Attack
from robench.contracts.detector import Evaluated
from robench.contracts.examples import Examples
from robench.contracts.global_generators import seeded_globally
from robench.contracts.task import Task
from robench.errors import require
from robench.evidence.tensor_digests import tensor_digests
from robench.testing import fixtures
from robench.testing.component_under_test import Checks, NotTried, Subject, logits_of
from robench.testing.fixtures import USUAL

IMAGES = 6


class Steps(Attack):
    """Take two steps to every side that the kit's images allow, which asks the model and moves the images."""

    name = "kit-steps"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the brighter image where it fools the model, else the darker one."""
        brighter, darker = (task.threat.project(images, images + sign * task.threat.eps) for sign in (1, -1))
        with torch.no_grad():
            fooled = model(brighter).argmax(1) != labels
            model(darker)
        return torch.where(fooled.view(-1, 1, 1, 1), brighter, darker)


def said(subject: Subject, model: Classifier) -> Any:
    """Return the warnings about the kit's network under the kit's attack, the global generators seeded."""
    lacking = " ".join(subject.component.missing())
    if lacking:
        raise NotTried(lacking)
    images = fixtures.pictures(USUAL, IMAGES)
    test = Examples.from_tensors(images, logits_of(model, images).argmax(1))
    with seeded_globally(0):
        return subject.component.warnings(Evaluated(model, Steps(), model, test, USUAL.attack("Linf", IMAGES)))


def words(subject: Subject) -> None:
    """The warnings are a tuple of names."""
    found = said(subject, subject.victim())
    require(
        isinstance(found, tuple) and all(isinstance(name, str) and name for name in found),
        f"{subject.name}.warnings must return the names of its warnings, a tuple of texts, not {found!r}.",
    )


def repeated(subject: Subject) -> None:
    """The same evaluation gives the same warnings, and the model is left as it was."""
    model = subject.victim()
    before = copy.deepcopy(tensor_digests(model))
    first, second = said(subject, model), said(subject, model)
    require(
        first == second,
        f"{subject.name} warned of {first!r}, then of {second!r}; draw from evaluated.task.generator, or from the "
        "global generators, which are seeded.",
    )
    require(tensor_digests(model) == before, f"{subject.name} changed the model's weights; work on a copy.")


CHECKS: Checks = {"warnings": words, "same again": repeated}
