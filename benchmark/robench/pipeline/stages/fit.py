"""fit: turn the victim into the defended victim, once, and check what was really trained."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robench.contracts.classifier import Classifier, check_logits
from robench.contracts.components import Defense
from robench.contracts.examples import Examples, as_floats
from robench.contracts.module_copy import copy_module
from robench.contracts.task import Checkpoint, Task
from robench.contracts.test_split_guard import guarding_test_split
from robench.errors import ContractError, DataError, DeviceError, StoreError, attributed_to, require
from robench.evidence.artifact_folder import Artifact
from robench.evidence.card import Cost, TrainingRecord
from robench.evidence.image_signatures import ImageSignatures, KnownSignatures, signatures
from robench.evidence.meter import Meter
from robench.evidence.store import Store
from robench.evidence.tensor_digests import derived, digest_of_digests
from robench.evidence.victim_digests import digests_of
from robench.runtime.float32 import held_to_float32
from robench.runtime.inference import freeze
from robench.runtime.out_of_memory import is_out_of_memory
from robench.runtime.restored_tensors import built_by_wrap, restore, sketch, tensors_of
from robench.runtime.trained_parameters import gradients_seen, training_record

_LOG = logging.getLogger(__name__)

KIND = "fit"
#: The signatures of the training images, apart from the fit: they are no tensors of the model.
SIGNATURES = "prints"


@dataclass(frozen=True)
class Fitted:
    """Hold the defended victim, frozen, and what is known about how it came to be."""

    model: Classifier
    training: TrainingRecord
    cost: Cost
    digest: str
    train: str | None
    train_n: int
    #: Of the training images, so that leakage into the test split can be counted.
    train_signatures: ImageSignatures


def fit(
    defense: Defense,
    victim: Classifier,
    train: Callable[[], Examples] | None,
    task: Task,
    store: Store,
    key: str,
) -> Fitted:
    """Return the defended victim: from the store if it is there, else fitted and stored.

    Args:
        defense: the defense.
        victim: left untouched; the defense works on a copy.
        train: loads the training split, if it is needed; None if the defense trains nothing.
        task: carries the stage's seed, device and progress.
        store: where the changed tensors are kept.
        key: the fit's fingerprint.
    """
    with store.lock(KIND, key):
        defended = _wrap(defense, victim, task)
        artifact = store.get(KIND, key)
        _LOG.info("fit of %s: %s", defense.name, "in the store" if artifact else "is computed")
        if artifact is None:
            unfinished = store.scratch(KIND, key)
            examples = train() if train is not None else None
            seen, watched = None, examples
            if examples is not None and store.get(SIGNATURES, key) is None:
                seen = KnownSignatures(len(examples))
                watched = examples.watched(partial(_note, seen))  # no pass of its own: training decodes them anyway
            artifact = store.put(KIND, key, *_train(defense, victim, defended, watched, task, unfinished))
            known = _signatures_of((lambda: examples) if examples is not None else None, task, store, key, seen)
            unfinished.unlink(missing_ok=True)
        else:
            restore(defense, victim, defended, artifact)
            # Lost or damaged, they are taken again: without them, leakage into the test split would pass unseen.
            known = _signatures_of(train, task, store, key)
    return _fitted(defense, defended, artifact, known, task)


def fitted_elsewhere(
    defense: Defense,
    victim: Classifier,
    train: Callable[[], Examples] | None,
    task: Task,
    store: Store,
    key: str,
) -> Fitted:
    """Return a victim whose head is that of another dataset, with what a stored fit made of it; nothing is trained."""
    with store.lock(KIND, key):
        defended = _wrap(defense, victim, task)
        artifact = store.get(KIND, key)
        if artifact is None:
            raise StoreError(f"The fit of {defense.name} was taken out of the store while it was used; run it again.")
        restore(defense, victim, defended, artifact, elsewhere=True)
        known = _signatures_of(train, task, store, key)
    return _fitted(defense, defended, artifact, known, task)


def _fitted(defense: Defense, defended: Classifier, artifact: Artifact, known: ImageSignatures, task: Task) -> Fitted:
    meta = artifact.meta
    freeze(defended, task.device)
    training = TrainingRecord(**{**meta["training"], "recipe": dict(defense.recipe())})
    return Fitted(defended, training, Cost(**meta["cost"]), meta["defended"], meta["train"], meta["train_n"], known)


def trains(defense: Defense) -> bool:
    """Tell whether the defense overrides ``fit``."""
    return type(defense).fit is not Defense.fit


def _note(seen: KnownSignatures, places: list[int], images: Tensor) -> None:
    seen.of(as_floats(images), places)


def _signatures_of(
    train: Callable[[], Examples] | None, task: Task, store: Store, key: str, seen: KnownSignatures | None = None
) -> ImageSignatures:
    """Return the training images' signatures: from the store if they are there, else taken and stored.

    Those that ``seen`` has were taken while the images were trained on; only the others are decoded.
    """
    kept = store.get(SIGNATURES, key)
    if kept is None:
        taken = signatures([])
        if train is not None:
            examples = train()
            seen = seen or KnownSignatures(len(examples))
            left = seen.missing()
            for batch in examples[left].batches(task.batch_size):
                seen.of(batch.images, [left[place] for place in batch.indices])
            taken = seen.all()
        kept = store.put(SIGNATURES, key, {}, taken._asdict())
    return ImageSignatures(**kept.tensors())


def _wrap(defense: Defense, victim: Classifier, task: Task) -> Classifier:
    with held_to_float32(f"{defense.name}.wrap"), attributed_to(f"{defense.name}.wrap"):
        defended = defense.wrap(freeze(copy_module(victim), task.device), task)
    require(
        isinstance(defended, Classifier),
        f"{defense.name}.wrap must return a robench.Classifier, not {type(defended).__name__}.",
    )
    return defended.to(task.device).eval()


def _train(
    defense: Defense, victim: Classifier, defended: Classifier, train: Examples | None, task: Task, unfinished: Path
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Fit, and return what is known about it and the tensors that it changed, declared or made beside the victim's."""
    declared = [name for name, parameter in defended.named_parameters() if parameter.requires_grad]
    known, touched = digests_of(victim), set[str]()
    before = known.of(defended, victim)
    at_load = derived(defended)
    made = built_by_wrap(known.by_name, before, at_load | {*declared})
    computed = {name: sketch(tensor) for name, tensor in tensors_of(defended).items() if name in at_load}
    meter = Meter(device=task.device, batch_size=0)
    if train is not None:
        _fit_metered(defense, defended, train, task, unfinished, meter, touched)
    known = digests_of(victim)  # anew, should the fit have written to the victim itself
    after = known.of(defended, victim)
    seen = touched if train is not None else None
    training, tensors = training_record(defense, defended, declared, before, after, seen)
    training |= {"history": task.history}  # and the recipe, which may name places of this machine
    made -= {*tensors}
    tensors |= {name: tensors_of(defended)[name] for name in made}
    meta = {
        "training": training,
        "cost": meter.state(),
        "defended": digest_of_digests(after, derived(defended) - {*tensors}),
        "victim": known.victim,
        "made": sorted(made),
        "derived": {name: seen for name, seen in computed.items() if name not in tensors},
        "train": train.fingerprint if train is not None else None,
        "train_n": len(train) if train is not None else 0,
    }
    return meta, tensors


def _fit_metered(
    defense: Defense,
    defended: Classifier,
    train: Examples,
    task: Task,
    unfinished: Path,
    meter: Meter,
    touched: set[str],
) -> None:
    """Fit with every pass counted and every gradient seen, surrogates' passes included."""
    if not len(train):
        raise DataError(f"{defense.name} needs training images, and the dataset has none.")
    checkpoint = Checkpoint(unfinished, _resumable(meter, touched, task.history), task.progress.note)
    with ExitStack() as stack:

        @cache
        def surrogate(name: str) -> Classifier:
            model = copy_module(task.load_model(name), name)  # others use it too, the victim among them
            stack.enter_context(meter.counting(model.network))
            return model

        stack.enter_context(gradients_seen(defended, touched))
        stack.enter_context(meter.counting(defended.network))
        stack.enter_context(meter.clock())
        _call_fit(defense, defended, train, task.replace(checkpoint=checkpoint, load_model=surrogate))
    _check_trained(defense, defended, train, task)
    meter.images = len(train)


def _call_fit(defense: Defense, defended: Classifier, train: Examples, task: Task) -> None:
    try:
        with guarding_test_split(), held_to_float32(f"{defense.name}.fit"), attributed_to(f"{defense.name}.fit"):
            defense.fit(defended, train, task)
    except ContractError as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"{defense.name} ran out of memory on {task.device} while training. The batch size is part of the "
            f"training recipe, so robench does not change it: give -p {defense.name}.batch_size a smaller value."
        ) from None


def _check_trained(defense: Defense, defended: Classifier, train: Examples, task: Task) -> None:
    """Raise ContractError unless what came out of a fit is finite and still returns logits."""
    for name, parameter in defended.named_parameters():
        parameter.grad = None
        require(
            bool(torch.isfinite(parameter).all()),
            f"{defense.name} diverged: after training, {name} holds NaN or infinite values. Lower its learning rate.",
        )
    for name, buffer in defended.named_buffers():
        hollow = buffer.is_floating_point() and bool(torch.isnan(buffer).any())  # a mask may well be infinite
        require(not hollow, f"{defense.name} diverged: after training, {name} holds NaN. Lower its learning rate.")
    defended.eval()
    with torch.no_grad():
        probe = next(train[: min(2, len(train))].batches(2, task.device)).images
        check_logits(defended(probe), len(probe), len(task.classes), defense.name)


def _resumable(meter: Meter, touched: set[str], history: list[dict[str, float]]) -> Any:
    """Return how a checkpoint keeps the harness's own counts, so that a resumed fit reports the same."""

    def get() -> dict[str, Any]:
        return {"meter": meter.state(), "touched": sorted(touched), "history": list(history)}

    def put(saved: dict[str, Any]) -> None:
        meter.add(saved["meter"])
        touched.update(saved["touched"])
        history[:] = saved["history"]

    return get, put
