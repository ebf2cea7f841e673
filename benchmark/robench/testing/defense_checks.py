"""Checks of a defense: what it builds, trains, keeps and answers."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from functools import partial

import torch

from robench.contracts.global_generators import seeded_globally
from robench.errors import require
from robench.evidence.tensor_digests import tensor_digests
from robench.pipeline.stages.fit import trains
from robench.testing import fixtures, gradient_checks, model_checks
from robench.testing.component_under_test import (
    TRAIN_IMAGES,
    Checks,
    NotApplicable,
    NotTried,
    Subject,
    close,
    logits_of,
    on_gpu,
    unchanged,
)
from robench.testing.fixtures import LARGE, SMALL, USUAL, Setting


def victims(subject: Subject) -> None:
    """A victim is defended, or refused in a sentence."""
    subject.taken()
    with suppress(NotTried):  # a refusal in a sentence, where another victim is taken
        subject.wrap(subject.victim(), USUAL, 0)


def same_structure(subject: Subject) -> None:
    """The same victim and seed give the same structure and values, whatever the global generators hold."""
    victim = subject.taken()
    first, second = (tensor_digests(subject.wrap(victim, USUAL, 0, scramble=seed)) for seed in (1, 2))
    odd = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
    require(
        not odd,
        f"{subject.name}.wrap gives other values the second time ({', '.join(odd[:3])}); draw initial values from "
        "task.generator(...), never from the global generator.",
    )
    subject.wrap(victim, USUAL, 1)


def leaves_alone(subject: Subject) -> None:
    """The victim it was built from stays as it was."""
    victim = subject.taken()
    way_out = "change the copy that wrap receives, and no class or module that others share."
    with unchanged(victim, f"{subject.name}", way_out), subject.untouched():
        before = logits_of(victim, fixtures.pictures(USUAL, 2))
        subject.wrap(victim, USUAL, 0)
        subject.fitted()
        after = logits_of(victim, fixtures.pictures(USUAL, 2))
    require(torch.equal(before, after), f"{subject.name} changes the answers of the undefended victim; {way_out}")


def gives_logits(subject: Subject, setting: Setting = USUAL) -> None:
    """Finite float32 logits (N, classes), no probabilities."""
    model = subject.fitted().model if setting == USUAL else subject.wrapped(setting)
    model_checks.check_forward(subject, model, setting, "refuse in wrap what it cannot defend, with robench.SpecError.")


def same_seed(subject: Subject) -> None:
    """The same seed trains the same tensors, whatever the global generators hold; another seed works too."""
    if not trains(subject.component):
        raise NotApplicable("it trains nothing.")
    first, second = subject.fitted(), subject.fitted(again=1)
    require(
        first.digest == second.digest,
        f"{subject.name}.fit trains other weights with the same seed; shuffle and draw with task.generator(...), never "
        "with the global generator.",
    )
    subject.fitted(seed=1)


def trains_what_it_declares(subject: Subject) -> None:
    """Every parameter that ``wrap`` left trainable had a gradient, and nothing else changed."""
    training = subject.fitted().training
    if not trains(subject.component):
        require(
            not training.names,
            f"{subject.name} leaves gradients on for {', '.join(training.names[:3])} and has no fit; leave them off.",
        )
        raise NotApplicable("it trains nothing.")
    require(
        not training.without_gradient,
        f"{subject.name} declares {len(training.without_gradient)} trainable parameters that never had a gradient "
        f"({', '.join(training.without_gradient[:3])}); leave gradients on in wrap for what fit trains, and for "
        f"nothing else. (The kit trains on {TRAIN_IMAGES} images: if that is a single step, try it with more epochs.)",
    )
    require(
        not training.undeclared,
        f"{subject.name}.fit changes what wrap did not declare ({', '.join(training.undeclared[:3])}); "
        "leave gradients on for it in wrap, name buffers that are computed in Defense.statistics, or leave it alone.",
    )
    buffers = [name for name in training.buffers if name.rpartition(".")[2] not in subject.component.statistics]
    require(
        not buffers,
        f"{subject.name}.fit changes buffers ({', '.join(buffers[:3])}), such as batch-norm statistics; train in eval "
        "mode, or name what it computes in Defense.statistics.",
    )


def comes_back(subject: Subject) -> None:
    """Stored tensors in a structure built anew give the same logits."""
    images = fixtures.pictures(USUAL, 4)
    with seeded_globally(0):
        wanted = logits_of(subject.fitted().model, images)
    restored = subject.restored().model
    with seeded_globally(0):
        found = logits_of(restored, images)
    if subject.component.randomized and not torch.equal(found, wanted):
        raise NotApplicable("its answers are drawn, so that they cannot be compared.")
    require(
        close(found, wanted, 1e-5),
        f"{subject.name} gives other logits when its stored tensors are loaded (by up to "
        f"{float((found - wanted).abs().max()):.3g}); keep all that fit learns in parameters and buffers.",
    )


def any_batch(subject: Subject) -> None:
    """An image's logits do not depend on its batch."""
    if subject.component.randomized:
        raise NotApplicable("its answers are drawn, so that they cannot be compared.")
    model_checks.check_batches(subject, subject.fitted().model)


def moves(subject: Subject) -> None:
    """A copy works as the original does, and every tensor goes along to another device."""
    model_checks.check_moves(subject, subject.fitted().model, compare=not subject.component.randomized)


def trains_on_cuda(subject: Subject) -> None:
    """Trained on a GPU, or on one that is pretended, it answers much as when it is trained on a CPU."""
    if not trains(subject.component):
        raise NotApplicable("it trains nothing.")
    images = fixtures.pictures(USUAL, 4)
    wanted = subject.fitted().model
    with on_gpu(subject.name):
        found = copy.deepcopy(subject.fitted_on("cuda").model).to("cpu")
    if subject.component.randomized:
        return
    gap = float((logits_of(found, images) - logits_of(wanted, images)).abs().max())
    require(
        close(logits_of(found, images), logits_of(wanted, images), 0.1),
        f"{subject.name} trained on cuda gives other logits than trained on a CPU (by up to {gap:.3g}); draw from "
        "task.generator and task.uniform, which are the same on every device.",
    )


def statements(subject: Subject) -> None:
    """Passes, recipe and surrogates are what the harness can read."""
    component = subject.component
    passes = component.passes(100)
    require(
        len(passes) == 2 and all(isinstance(count, int) and count >= 0 for count in passes),
        f"{subject.name}.passes must return two whole numbers, (forwards, backwards), not {passes!r}.",
    )
    require(
        passes != (0, 0) or not trains(component),
        f"{subject.name} trains, and passes() says that a fit costs nothing; --dry-run would promise too little, so "
        "return the (forwards, backwards) of a fit on so many images.",
    )
    try:
        recipe = json.loads(json.dumps(dict(component.recipe()), allow_nan=False))
    except (TypeError, ValueError):
        recipe = {"": {}}
    require(
        all(isinstance(value, bool | int | float | str | None) for value in recipe.values()),
        f"{subject.name}.recipe must return text, numbers, truth values or None by name; it goes into the card.",
    )
    names = component.surrogates()
    require(
        isinstance(names, tuple) and all(isinstance(name, str) for name in names),
        f"{subject.name}.surrogates must return a tuple of names, not {names!r}.",
    )


CHECKS: Checks = {
    "victims": victims,
    "same structure": same_structure,
    "leaves all alone": leaves_alone,
    "logits": gives_logits,
    "same seed": same_seed,
    "trainable parameters": trains_what_it_declares,
    "stored and loaded": comes_back,
    "any batch": any_batch,
    "randomness": gradient_checks.randomness,
    "gradient": gradient_checks.declared_gradient,
    "copies and devices": moves,
    "trains on CUDA": trains_on_cuda,
    "statements": statements,
    str(SMALL): partial(gives_logits, setting=SMALL),
    str(LARGE): partial(gives_logits, setting=LARGE),
}
