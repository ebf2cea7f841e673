"""Checks of a model: what it loads, what its forward gives, and what it states about itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import nullcontext
from difflib import get_close_matches
from functools import partial

import torch
from torch import Tensor, nn

from robench.contracts.classifier import Classifier, ZeroShotClassifier, check_logits, input_gradient
from robench.contracts.parameters import resolve
from robench.errors import ContractError, RobenchError, attributed_to, require
from robench.evidence.tensor_digests import weights_digest
from robench.plugin.catalog import catalog
from robench.runtime.inference import freeze
from robench.testing import fixtures
from robench.testing.component_under_test import (
    Checks,
    NotApplicable,
    NotTried,
    Subject,
    close,
    logits_of,
    may_refuse,
    on_gpu,
)
from robench.testing.fixtures import LARGE, SMALL, USUAL, Setting
from robench.testing.loaded_model import answered, load, loaded, usual

IMAGES = 5
_REFUSE = "refuse in load what the model cannot take, with robench.WeightsError."


def gives_logits(subject: Subject) -> None:
    """Finite float32 logits (N, classes), no probabilities."""
    setting = usual(subject)
    model = loaded(subject, setting)
    require(
        model.classes == setting.classes,
        f"{subject.name} gives {setting.classes} logits and says that it has {model.classes} classes; write "
        "Classifier(network, classes=len(task.classes)).",
    )
    check_forward(subject, model, setting, _REFUSE)


def gives_logits_elsewhere(subject: Subject, setting: Setting) -> None:
    """Likewise for other classes and images, unless the model is not for them."""
    usual(subject)
    try:
        model = loaded(subject, setting)
    except NotTried as refusal:
        raise NotApplicable(str(refusal)) from refusal
    found = answered(model, setting)
    if found != setting.classes:
        raise NotApplicable(
            f"{subject.name} tells {found:,} classes apart, whatever the dataset has, so that no run on others begins; "
            "build the head for task.classes, or say so in load, with robench.WeightsError."
        )
    check_forward(subject, model, setting, _REFUSE)


def check_forward(subject: Subject, model: Classifier, setting: Setting, way_out: str) -> None:
    """Raise ContractError unless ``model`` gives logits on images of ``setting``."""
    images = fixtures.pictures(setting, 2)
    given = images.clone()
    with may_refuse(), attributed_to(f"{subject.name} with {setting} (way out: {way_out.rstrip('.')})"):
        logits = logits_of(model, given)
    check_logits(logits, len(images), setting.classes, subject.name)
    require(torch.equal(given, images), f"{subject.name} writes into the images it is given; work on a clone.")


def same_weights(subject: Subject) -> None:
    """Two loads of one task give the same weights, whatever the global generators hold."""
    setting = usual(subject)
    first, second = loaded(subject, setting), load(subject, setting, scramble=7)
    require(
        weights_digest(first) == weights_digest(second),
        f"{subject.name} loads other weights the second time; draw initial values from task.generator(...), never from "
        "the global generator.",
    )


def pixels_matter(subject: Subject) -> None:
    """The gradient of a logit reaches the pixels, and is finite."""
    check_gradient(subject, loaded(subject, usual(subject)))


def check_gradient(subject: Subject, model: Classifier) -> None:
    """Raise ContractError unless a finite gradient that is not all zero reaches the pixels of every image."""
    images = fixtures.pictures(USUAL, IMAGES)
    weights = torch.linspace(-1, 1, model.classes)
    try:
        with may_refuse():
            _, gradient = input_gradient(lambda x: model(x) @ weights, images)
    except (RuntimeError, ContractError) as error:  # torch's words for a cut graph, or ours
        require(
            False,
            f"{subject.name} lets no gradient through to its pixels ({error}); preprocess with torch operations, "
            "such as robench.Preprocess, outside torch.no_grad().",
        )
        return
    require(bool(torch.isfinite(gradient).all()), f"{subject.name} has NaN or infinite gradients at ordinary images.")
    reached = gradient.flatten(1).abs().amax(1) > 0
    require(
        bool(reached.all()),
        f"{subject.name} has a gradient of exactly 0 in {int((~reached).sum())} of {IMAGES} images; a detach, a "
        "rounding or a saturated output hides it.",
    )


def any_batch(subject: Subject) -> None:
    """An image's logits do not depend on its batch."""
    check_batches(subject, loaded(subject, usual(subject)))


def check_batches(subject: Subject, model: Classifier) -> None:
    """Raise ContractError unless images have the logits alone that they have together."""
    images = fixtures.pictures(USUAL, IMAGES)
    whole = logits_of(model, images)
    alone = torch.cat([logits_of(model, image[None]) for image in images])
    require(
        close(alone, whole),
        f"{subject.name} gives an image other logits alone than in a batch (by up to "
        f"{float((alone - whole).abs().max()):.3g}); use no statistics of the batch, and honour eval mode.",
    )


def moves(subject: Subject) -> None:
    """A copy works as the original does, and every tensor goes along to another device."""
    check_moves(subject, loaded(subject, usual(subject)))


def check_moves(subject: Subject, model: Classifier, *, compare: bool = True) -> None:
    """Raise ContractError if a tensor would stay behind; tried on a GPU, or on one that is pretended."""
    for path in stray_tensors(model):
        require(
            False,
            f"{subject.name} keeps the tensor '{path}' as a plain attribute, which stays behind when the model moves "
            "to another device and is in no checkpoint; use register_buffer.",
        )
    images = fixtures.pictures(USUAL, 2)
    wanted = logits_of(model, images)
    for place in ("cpu", "cuda"):
        if place == "cuda" and not torch.cuda.is_available():
            scripted = any(isinstance(module, torch.jit.ScriptModule) for module in model.modules())
            if scripted:
                raise NotTried("TorchScript runs outside Python, where a GPU cannot be pretended; run this on one.")
        with on_gpu(subject.name) if place == "cuda" else nullcontext():
            copied = freeze(copy.deepcopy(model), place)
            with attributed_to(f"{subject.name} on {place}"):
                found = logits_of(copied, images.to(place))
            where, found = found.device.type, found.cpu()
        require(where == place, f"{subject.name} answers on {where} for images on {place}.")
        require(
            not compare or close(found, wanted, 1e-2),
            f"A copy of {subject.name} on {place} gives other logits than the original; keep all state in parameters "
            "and buffers.",
        )


def stray_tensors(model: nn.Module) -> Iterator[str]:
    """Yield the paths of tensors that modules hold outside their parameters and buffers, hooks' closures included."""
    registered = {id(tensor) for tensor in [*model.parameters(), *model.buffers()]}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key in ("_parameters", "_buffers", "_modules"):
                continue
            for path, tensor in _tensors(f"{name}.{key}".lstrip("."), value):
                if id(tensor) not in registered:
                    yield path


def _tensors(path: str, value: object) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _tensors(f"{path}[{key!r}]", entry)
    elif isinstance(value, list | tuple):
        for place, entry in enumerate(value):
            yield from _tensors(f"{path}[{place}]", entry)
    elif path.partition("[")[0].rpartition(".")[2] in ("_forward_hooks", "_forward_pre_hooks"):
        for cell in getattr(value, "__closure__", None) or ():
            yield from _tensors(path, cell.cell_contents if not callable(cell.cell_contents) else None)


def statements(subject: Subject) -> None:
    """Stated accuracies are accuracies of data sets there are; tuned parameters are parameters there are."""
    kind, known = type(subject.component), catalog()
    origins = [offer.name for offer in known.of("dataset")]
    for origin, accuracy in kind.reference.items():
        require(
            isinstance(accuracy, float) and 0 < accuracy <= 1,
            f"{subject.name} states {accuracy!r} as its accuracy on {origin}; give it in (0, 1], such as 0.926.",
        )
        near = [] if origin in origins else get_close_matches(origin, origins, n=1, cutoff=0.7)
        require(
            not near,
            f"{subject.name} states its accuracy on '{origin}', which is no installed data set; did you mean "
            f"'{''.join(near)}'? A misspelt one is never compared.",
        )
    require(
        0 <= kind.reference_tolerance <= 0.2,
        f"{subject.name}.reference_tolerance is {kind.reference_tolerance}; give it in [0, 0.2], such as 0.01.",
    )
    for defense, values in kind.tuning.items():
        offer = known.offers.get(("defense", defense))
        if offer is not None:
            try:
                resolve(defense, offer.component, values)
            except RobenchError as error:
                require(False, f"{subject.name}.tuning cannot be used for {defense}: {error}")


def texts(subject: Subject) -> None:
    """A zero-shot model has one text feature a class."""
    setting = usual(subject)
    model = loaded(subject, setting)
    if not isinstance(model, ZeroShotClassifier):
        raise NotApplicable("it is no zero-shot model.")
    rows = len(model.get_buffer("text_features"))
    require(rows == setting.classes, f"{subject.name} has {rows} text features for {setting.classes} classes.")
    require(model.logit_scale > 0, f"{subject.name} has the logit scale {model.logit_scale}; it must be positive.")


CHECKS: Checks = {
    "logits": gives_logits,
    "same weights": same_weights,
    "gradient": pixels_matter,
    "any batch": any_batch,
    "copies and devices": moves,
    "statements": statements,
    "texts": texts,
    str(SMALL): partial(gives_logits_elsewhere, setting=SMALL),
    str(LARGE): partial(gives_logits_elsewhere, setting=LARGE),
}
