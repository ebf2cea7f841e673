"""Checks of an attack: what it returns, what it leaves alone, and what it may depend on."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from robench.contracts.asked_in_parts import asked_at_once
from robench.contracts.classifier import Classifier
from robench.contracts.global_generators import seeded_globally
from robench.contracts.task import Task
from robench.contracts.threat_model import BALL_TOLERANCE, Norm
from robench.errors import ContractError, SpecError, require
from robench.evidence.meter import Meter
from robench.evidence.tensor_digests import digest
from robench.runtime.inference import freeze
from robench.testing import fixtures
from robench.testing.component_under_test import (
    Checks,
    NotTried,
    Subject,
    logits_of,
    may_refuse,
    on_gpu,
    unchanged,
)
from robench.testing.fixtures import LARGE, SMALL, USUAL, Setting

IMAGES = 6
#: Images that a model takes at once, of those.
AT_ONCE = 4
#: Share of pixels that may differ between two batches: where a gradient is 0 up to rounding, its sign is chance.
CHANCE = 0.02


def craft(subject: Subject, model: Classifier, images: Tensor, labels: Tensor, task: Task, scramble: int = 0) -> Tensor:
    """Return what the attack makes of ``images``, the global generators seeded with ``scramble``."""
    with may_refuse(), seeded_globally(scramble):
        subject.component.check(task.threat)
        found: Any = subject.component.craft(model, images, labels, task)
    require(
        isinstance(found, Tensor),
        f"{subject.name}.craft must return a tensor of images, not {type(found).__name__}.",
    )
    moved: Tensor = found.detach()
    return moved


def case(subject: Subject, setting: Setting = USUAL, count: int = IMAGES) -> tuple[Classifier, Tensor, Tensor]:
    """Return a victim, images, and the labels it gives them, so that there is something to attack."""
    model = subject.victim(setting)
    images = fixtures.pictures(setting, count)
    with may_refuse():
        return model, images, logits_of(model, images).argmax(1)


def norms(subject: Subject) -> list[Norm]:
    """Return the norms in which these parameters can be run; the usual radius may be refused in one of them."""
    found, reasons = [], []
    for norm in subject.component.norms:
        try:
            subject.component.check(USUAL.attack(norm, IMAGES).threat)
        except SpecError as error:
            reasons.append(str(error))
        else:
            found.append(norm)
    if not found:
        raise NotTried(" ".join(reasons) or f"{subject.name} names no norms.")
    return found


def returns(subject: Subject, setting: Setting = USUAL, count: int = IMAGES) -> None:
    """Float32 images of the same shape, finite, in the box and the ball; white-box and for transfer."""
    model, images, labels = case(subject, setting, count)
    for norm in norms(subject):
        for early in (True, False):
            task = setting.attack(norm, count, early=early)
            found = craft(subject, model, images.clone(), labels, task)
            _check_images(subject, found, images, task, f"with {setting} in {norm}")


def _check_images(subject: Subject, found: Tensor, images: Tensor, task: Task, where: str) -> None:
    require(
        found.shape == images.shape and found.dtype == torch.float32,
        f"{subject.name} returns {found.dtype} {tuple(found.shape)} for torch.float32 {tuple(images.shape)} {where}; "
        "return images of the same type and shape.",
    )
    require(
        bool(torch.isfinite(found).all()),
        f"{subject.name} returns NaN or infinite pixels {where}; guard its divisions, for example against an all-zero "
        "gradient.",
    )
    inside = bool(((found >= 0) & (found <= 1)).all())
    require(inside, f"{subject.name} leaves the box [0, 1] {where}; end with task.threat.project(images, adversarial).")
    far = float(task.threat.distance(images, found).max())
    require(
        far <= task.threat.eps + BALL_TOLERANCE,
        f"{subject.name} moves an image by {far:.6f} where eps is {task.threat.eps:.6f} {where}; end with "
        "task.threat.project(images, adversarial).",
    )


def same_seed(subject: Subject) -> None:
    """The same seed gives the same images, whatever the global generators hold; another seed works too."""
    model, images, labels = case(subject)
    for norm in norms(subject):
        task = USUAL.attack(norm, IMAGES)
        first, second = (craft(subject, model, images.clone(), labels, task, scramble=seed) for seed in (1, 2))
        require(
            torch.equal(first, second),
            f"{subject.name} gives other images for the same seed; draw from task.uniform or task.generator, never "
            "from a global generator.",
        )
        craft(subject, model, images.clone(), labels, USUAL.attack(norm, IMAGES, seed=1))


def leaves_alone(subject: Subject) -> None:
    """Images, labels and the model stay as they were."""
    model, images, labels = case(subject)
    task = USUAL.attack(norms(subject)[0], IMAGES)
    given, given_labels = images.clone(), labels.clone()
    way_out = "use robench.input_gradient, and put hooks and modes back."
    with unchanged(model, f"{subject.name}.craft", way_out), subject.untouched():
        craft(subject, model, given, given_labels, task)
    require(
        torch.equal(given, images) and torch.equal(given_labels, labels) and not given.requires_grad,
        f"{subject.name}.craft writes into the images or labels it is given; work on a clone.",
    )


def identity(subject: Subject) -> None:
    """With eps = 0 the images come back bit by bit."""
    model, images, labels = case(subject)
    for norm in norms(subject):
        task = USUAL.attack(norm, IMAGES, eps=0.0)
        try:
            found = craft(subject, model, images.clone(), labels, task)
        except (NotTried, ContractError):
            raise
        except Exception as error:  # an attack may raise anything
            raise ContractError(
                f"{subject.name} fails with eps = 0 ({type(error).__name__}: {error}); it must return the images there."
            ) from error
        require(
            torch.equal(found, images),
            f"{subject.name} moves images although eps is 0 in {norm}; begin with 'if task.threat.eps == 0: return "
            "images.clone()'.",
        )


class OneByOne(nn.Module):
    """Pass images one by one: the last bits of a layer's result depend on the size of its batch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return what the network gives for each image alone, as one batch."""
        return torch.cat([self.network(image[None]) for image in images])


def any_batch(subject: Subject) -> None:
    """An image's result depends neither on the batch size nor on its neighbours."""
    model, images, labels = case(subject)
    for norm in norms(subject):
        task = USUAL.attack(norm, IMAGES)
        # A sparse step takes the largest slopes: where two are nearly as large, the last bit sends an image elsewhere.
        asked = Classifier(OneByOne(model), model.classes) if norm == "L1" else model
        whole = craft(subject, asked, images.clone(), labels, task)
        parts = [[0], [1, 2, 3], [4, 5]]
        pieces = [craft(subject, asked, images[rows], labels[rows], task.replace(indices=rows)) for rows in parts]
        differ = float(((torch.cat(pieces) - whole).abs() > 1e-4).float().mean())
        require(
            differ <= CHANCE,
            f"{subject.name} gives {differ:.0%} other pixels for the same images in other batches; sum the loss over "
            "the batch instead of averaging it, and draw noise with task.uniform, which is per image.",
        )


def asked_in_parts(subject: Subject) -> None:
    """An attack that says so asks the model for no more images at once than it takes, and gives the same images."""
    model, images, labels = case(subject)
    sizes: list[int] = []
    for norm in norms(subject):
        task = USUAL.attack(norm, IMAGES)
        asked = Classifier(OneByOne(model), model.classes)
        whole = craft(subject, asked, images.clone(), labels, task)
        handle = asked.register_forward_pre_hook(lambda _model, given: sizes.append(len(given[0])))
        with asked_at_once(AT_ONCE):
            found = craft(subject, asked, images.clone(), labels, task)
        handle.remove()
        require(
            max(sizes, default=0) <= AT_ONCE,
            f"{subject.name} says asks_in_parts, and asks the model for {max(sizes, default=0)} images where it takes "
            f"{AT_ONCE} at once: ask through robench.logits_of, and hand what a loss needs of each image to "
            "robench.input_gradient as further arguments; or leave asks_in_parts out.",
        )
        differ = float(((found - whole).abs() > 1e-4).float().mean())
        require(
            differ <= CHANCE,
            f"{subject.name} says asks_in_parts, and gives {differ:.0%} other pixels where the model is asked so; "
            "let its loss use only the rows that it is given.",
        )


def declared_passes(subject: Subject) -> None:
    """No image costs more passes than ``passes`` says; gradients at several points make an attack iterative."""
    model, images, labels = case(subject)
    task = USUAL.attack(norms(subject)[0], IMAGES, early=False)
    meter, points = Meter(), set[str]()

    def met(_model: nn.Module, given: tuple[Tensor, ...]) -> None:
        if given[0].requires_grad:
            points.add(digest(given[0]))

    handle = model.register_forward_pre_hook(met)
    with meter.counting(model):
        craft(subject, model, images.clone(), labels, task)
    handle.remove()
    once = subject.component.passes_once()
    cost = tuple(
        max(0, spent - first) / IMAGES for spent, first in zip((meter.forwards, meter.backwards), once, strict=True)
    )
    most = subject.component.passes_in(task.threat)
    require(
        cost[0] <= most[0] and cost[1] <= most[1],
        f"{subject.name} takes {cost[0]:g} forwards and {cost[1]:g} backwards an image where passes() says at most "
        f"{most[0]} and {most[1]}; --dry-run would promise too little, so return the true most.",
    )
    require(
        not (getattr(subject.component, "queries_only", False) and meter.backwards),
        f"{subject.name} declares queries_only and takes gradients; leave one of the two out.",
    )
    require(
        len(points) < 2 or subject.component.iterative,
        f"{subject.name} takes gradients at {len(points)} points and is not iterative; let its property 'iterative' "
        "return True, or the gate holds it for a one-step attack, which may not beat an iterative one.",
    )


def on_cuda(subject: Subject) -> None:
    """On a GPU, or on one that is pretended, the images come back on the GPU."""
    model, images, labels = case(subject)
    for norm in norms(subject):
        task = USUAL.attack(norm, IMAGES).replace(device="cuda")
        with on_gpu(subject.name):
            found = craft(subject, freeze(copy.deepcopy(model), "cuda"), images.cuda(), labels.cuda(), task)
            place, found = found.device.type, found.cpu()
        require(
            place == "cuda",
            f"{subject.name} returns images on the {place} for images on the GPU; create tensors on images.device.",
        )
        _check_images(subject, found, images, task, f"on the GPU in {norm}")


CHECKS: Checks = {
    "box, ball, float32": returns,
    "same seed": same_seed,
    "leaves all alone": leaves_alone,
    "eps = 0": identity,
    "any batch": any_batch,
    "passes": declared_passes,
    str(SMALL): partial(returns, setting=SMALL),
    str(LARGE): partial(returns, setting=LARGE, count=2),
    "on CUDA": on_cuda,
}

#: Of those that say ``asks_in_parts``.
IN_PARTS: Checks = {"asked in parts": asked_in_parts}
