"""Checks of a certificate: what it returns, what it leaves alone, and that nothing that it certifies falls."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor

from robench.contracts.classifier import Classifier, input_gradient
from robench.contracts.global_generators import seeded_globally
from robench.contracts.task import Task
from robench.contracts.threat_model import Norm
from robench.errors import ContractError, SpecError, require
from robench.pipeline.stages.certify import checked_answers
from robench.runtime.inference import freeze
from robench.testing import fixtures
from robench.testing.component_under_test import Checks, NotTried, Subject, logits_of, on_gpu, unchanged
from robench.testing.fixtures import SMALL, USUAL, Setting

IMAGES = 4
#: Radii, in units of the norm's usual one: from where most images stand to where most fall.
RADII = (0.05, 1.0)
STEPS = 6


def certify(subject: Subject, model: Classifier, images: Tensor, labels: Tensor, task: Task, seed: int = 0) -> Tensor:
    """Return what is certified, the global generators seeded with ``seed``."""
    try:
        subject.component.check(task.threat)
        with seeded_globally(seed), torch.no_grad():
            found: Any = subject.component.certify(model, images.clone(), labels.clone(), task)
    except (SpecError, ContractError) as error:  # it may know no bound of this model
        raise NotTried(str(error)) from error
    return checked_answers(subject.name, found, labels)


def case(subject: Subject, setting: Setting = USUAL, *, linear: bool = False) -> tuple[Classifier, Tensor, Tensor]:
    """Return a chain of linear layers and ReLUs, or a linear map, images, and the labels that it gives them."""
    victim = subject.own_victim(setting)
    model = victim if victim is not None and not linear else fixtures.chain(setting, linear=linear)
    images = fixtures.pictures(setting, IMAGES)
    return model, images, logits_of(model, images).argmax(1)


def tasks(subject: Subject, setting: Setting = USUAL) -> list[Task]:
    """Return the tasks of all norms and radii."""
    norms: list[Norm] = list(subject.component.norms)
    require(bool(norms), f"{subject.name} names no norms; say in which it knows a bound, such as ('Linf',).")
    return [setting.attack(norm, IMAGES, share * fixtures.EPS[norm]) for norm in norms for share in RADII]


def returns(subject: Subject, setting: Setting = USUAL) -> None:
    """A truth value for each image; none that is answered wrongly as it is."""
    model, images, labels = case(subject, setting)
    for task in tasks(subject, setting):
        certify(subject, model, images, labels, task)
        wrong = (labels + 1) % setting.classes
        found = int(certify(subject, model, images, wrong, task).sum())
        require(
            not found,
            f"{subject.name} certifies {found} of {IMAGES} images at {task.threat} that are answered wrongly without "
            "any attack; bound the label's lead over the others, from the model's own logits.",
        )


def sound(subject: Subject, setting: Setting = USUAL, *, linear: bool = False) -> None:
    """No image that falls is certified: to the closed form of a linear map, to gradient steps of a network."""
    model, images, labels = case(subject, setting, linear=linear)
    for task in tasks(subject, setting):
        stands = certify(subject, model, images, labels, task)
        moved = attacked(model, images, labels, task)
        answers = logits_of(model, torch.cat(moved)).argmax(1).view(len(moved), -1)
        fell = (answers != labels).any(0)
        wrong = (stands & fell).nonzero().flatten().tolist()
        require(
            not wrong,
            f"{subject.name} certifies {len(wrong)} of {IMAGES} images at {task.threat} that fall to gradient steps "
            f"on {'a linear map' if linear else 'a network of ReLUs'} (images {', '.join(map(str, wrong))}); a "
            "certificate holds at every point of the ball and the box.",
        )


def attacked(model: Classifier, images: Tensor, labels: Tensor, task: Task) -> list[Tensor]:
    """Return, for each wrong class, the images after steps along the difference of two logits.

    On a linear map in Linf the first step of length eps is the best there is, and the rest change nothing.
    """
    count, classes, threat = len(images), min(len(task.classes), 10), task.threat
    start, own = images.repeat(classes, 1, 1, 1), labels.repeat(classes)[:, None]
    aims = torch.arange(classes).repeat_interleave(count)[:, None]

    def lead(inputs: Tensor) -> Tensor:
        logits: Tensor = model(inputs)
        return (logits.gather(1, aims) - logits.gather(1, own)).squeeze(1)

    moved = threat.one_step(start, input_gradient(lead, start)[1])
    found = [moved]
    for _ in range(STEPS):
        step = threat.eps / 4 * threat.steepest(input_gradient(lead, moved)[1])
        moved = threat.project(start, moved + step)
        found.append(moved)
    return [part for moved in found for part in moved.split(count)]


def same_again(subject: Subject) -> None:
    """The same seed gives the same, whatever the global generators hold, and in whichever batches."""
    model, images, labels = case(subject)
    for task in tasks(subject):
        first, second = (certify(subject, model, images, labels, task, seed=seed) for seed in (1, 2))
        parts = [[0], [1, 2], [3]]
        pieces = [certify(subject, model, images[rows], labels[rows], task.replace(indices=rows)) for rows in parts]
        require(
            torch.equal(first, second) and torch.equal(first, torch.cat(pieces)),
            f"{subject.name} certifies other images for the same seed or in other batches; draw from task.uniform, "
            "which is per image, and never from a global generator.",
        )


def leaves_alone(subject: Subject) -> None:
    """The model stays as it was, and the certificate keeps nothing."""
    model, images, labels = case(subject)
    way_out = "work on a copy."
    with unchanged(model, f"{subject.name}.certify", way_out), subject.untouched():
        certify(subject, model, images, labels, tasks(subject)[0])


def on_cuda(subject: Subject) -> None:
    """On a GPU, or on one that is pretended, it certifies too."""
    model, images, labels = case(subject)
    for task in tasks(subject)[:: len(RADII)]:
        with on_gpu(subject.name):
            own = freeze(copy.deepcopy(model), "cuda")
            certify(subject, own, images.cuda(), labels.cuda(), task.replace(device="cuda"))


CHECKS: Checks = {
    "truth values": returns,
    "nothing falls, linear": partial(sound, linear=True),
    "nothing falls, network": sound,
    "same again": same_again,
    "leaves all alone": leaves_alone,
    str(SMALL): partial(sound, setting=SMALL),
    "on CUDA": on_cuda,
}
