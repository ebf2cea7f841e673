"""certify: let a certificate say which images stand, chunk by chunk, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robench.contracts.adaptive import drawing
from robench.contracts.certificate import Certificate
from robench.contracts.classifier import Classifier
from robench.contracts.examples import Examples
from robench.contracts.module_copy import copy_module
from robench.contracts.task import Task
from robench.errors import ContractError, RobenchError, require
from robench.evidence.artifact_folder import Artifact
from robench.evidence.card import Cost
from robench.evidence.fingerprint import CERTIFIED_CHUNK
from robench.evidence.meter import Meter
from robench.evidence.stage_ids import CURRENT
from robench.evidence.store import Store
from robench.runtime.float32 import held_to_float32
from robench.runtime.out_of_memory import is_out_of_memory, retry_in_halves
from robench.runtime.timeout import time_limit

KIND = "certificate"


@dataclass(frozen=True)
class Certified:
    """Hold what a certificate proved of one defended victim.

    Attributes:
        key: its fingerprint.
        stands: bool (N,), on the CPU: nothing in the ball around the image is answered otherwise than by its label.
        cost: passes, in images, and clocks.
    """

    key: str
    stands: Tensor
    cost: Cost


def certify(
    certificate: Certificate,
    model: Classifier,
    test: Examples,
    task: Task,
    store: Store,
    key: str,
    text: str = "certify",
) -> Certified:
    """Return which images are certified: stored chunks are kept, missing ones are computed.

    Args:
        certificate: the certificate.
        model: the defended victim as fitted; bounds read its layers.
        test: the clean test images.
        task: carries the threat model.
        store: where the chunks go.
        key: the fingerprint.
        text: what the progress shows.
    """
    keys = CURRENT.certificate_chunks(key, len(test))
    parts = [test[start : start + CERTIFIED_CHUNK] for start in range(0, len(test), CERTIFIED_CHUNK)]
    numbered = list(enumerate(zip(keys, parts, strict=True)))
    own: Classifier | None = None
    found = list[Artifact]()
    for number, (chunk, part) in task.progress.track(numbered, len(numbered), text):
        with store.lock(KIND, chunk):
            kept = store.get(KIND, chunk)
            if kept is None:
                if own is None:
                    own = copy_module(model, certificate.name)  # what it does to its copy harms nobody
                first = number * CERTIFIED_CHUNK
                stands, meter = _certified(certificate, own, part, range(first, first + len(part)), task)
                kept = store.put(KIND, chunk, {"meter": meter.state()}, {"stands": stands})
            found.append(kept)
    return joined(key, found)


def joined(key: str, chunks: Sequence[Any]) -> Certified:
    """Return what stored chunks hold together."""
    meter = Meter()
    for chunk in chunks:
        meter.add(chunk.meta["meter"])
    return Certified(key, torch.cat([chunk.tensors()["stands"] for chunk in chunks]), meter.cost())


def certified_now(
    certificate: Certificate, model: Classifier, test: Examples, rows: Sequence[int], task: Task
) -> Tensor:
    """Return bool (M,), on the CPU: which of the images at these M places are certified; nothing is stored."""
    return _certified(certificate, copy_module(model, certificate.name), test[list(rows)], rows, task)[0]


def _certified(
    certificate: Certificate, model: Classifier, part: Examples, rows: Sequence[int], task: Task
) -> tuple[Tensor, Meter]:
    """Return what is certified of a part of the test set, whose places there are ``rows``."""
    meter = Meter(device=task.device)
    stands = torch.zeros(len(part), dtype=torch.bool)

    def on_batch(images: Tensor, labels: Tensor, places: Sequence[int]) -> Tensor:
        chosen = task.replace(indices=[rows[place] for place in places])
        return _call(certificate, model, images, labels, chosen, meter)

    for batch in part.batches(min(task.batch_size, CERTIFIED_CHUNK), task.device):
        found = retry_in_halves(on_batch, batch.images, batch.labels, batch.indices, task, model)
        stands[batch.indices] = found.cpu()
        meter.images += len(batch.images)
        meter.batch_size = max(meter.batch_size, len(batch.images))
    return stands, meter


def _call(
    certificate: Certificate, model: Classifier, images: Tensor, labels: Tensor, task: Task, meter: Meter
) -> Tensor:
    name, start = certificate.name, task.indices[0]
    try:
        with (
            torch.no_grad(),
            meter.counting(_asked(model)),
            meter.clock(),
            drawing(certificate.randomized, task, "certify", start),
            time_limit(task.timeout, name),
            held_to_float32(name),
        ):
            found: Any = certificate.certify(model, images.clone(), labels.clone(), task)
    except RobenchError:
        raise
    except Exception as error:  # a plugin may raise anything; a certificate that raises certifies nothing
        if is_out_of_memory(error):
            raise
        where = f"images {start} to {task.indices[-1]}"
        raise ContractError(f"{name} failed on {where}: {type(error).__name__}: {error}.") from error
    return checked_answers(name, found, labels)


def checked_answers(name: str, found: Any, labels: Tensor) -> Tensor:
    """Return what a certificate answered; ContractError unless it is a truth value for each image."""
    shown = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
    require(
        isinstance(found, Tensor) and found.dtype == torch.bool and found.shape == labels.shape,
        f"{name}.certify must return a truth value for each image, a bool tensor of shape ({len(labels)},), not "
        f"{shown}.",
    )
    stands: Tensor = found.detach()
    return stands


def _asked(model: Classifier) -> Classifier:
    """Return the innermost classifier: of a defense that asks a victim several times, each time counts."""
    return [module for module in model.modules() if isinstance(module, Classifier)][-1]
