"""probe: attack one cell by the harness's own small means, while its models are at hand.

What it finds is weighed by ``judge``; its passes are counted apart from the attack's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robench.budget import ThreatModel
from robench.classifier import Classifier, input_gradient
from robench.contracts import Attack
from robench.errors import ContractError
from robench.evidence.meter import Meter
from robench.evidence.store import Store
from robench.examples import Batch, Examples
from robench.task import Task

KIND = "probes"

#: Images on which the eps = 0 identity is tried; it takes every step, so few.
IDENTITY_IMAGES = 4
#: Images re-scored from the store with the plain model, in other batches.
RESCORED_IMAGES = 64
#: Surviving images on which one plain gradient step is tried.
ONE_STEP_IMAGES = 256


@dataclass(frozen=True)
class Probes:
    """Hold what the harness tried by itself on one cell.

    Attributes:
        identity_moved: of ``identity_n`` images attacked with eps = 0, how many changed at all.
        one_step_won: of ``one_step_n`` images that survived the attack, how many fall to one gradient step.
        rescored_differ: of ``rescored_n`` stored images, how many the plain model answers otherwise.
        meter: the passes this took.
    """

    identity_n: int
    identity_moved: int
    one_step_n: int
    one_step_won: int
    rescored_n: int
    rescored_differ: int
    meter: dict[str, Any]


def probe(
    attack: Attack,
    target: Classifier,
    plain: Classifier,
    test: Examples,
    stored: Iterator[Batch],
    predictions: Tensor,
    survivors: Tensor | None,
    task: Task,
    store: Store,
    key: str,
) -> Probes:
    """Return what the harness's own small attacks on this cell found, from the store if it is there.

    Args:
        attack: the attack under suspicion.
        target: the model it attacked.
        plain: the defended victim without any inference rewrite.
        test: the clean test images.
        stored: the adversarial images as they lie in the store.
        predictions: (N,) the answers that were scored on them.
        survivors: (N,) bool, images an iterative white-box attack left standing; None if it was another attack.
        task: carries the threat model.
        store: where the probes are kept.
        key: the cell's fingerprint.
    """
    with store.lock(KIND, key):
        artifact = store.get(KIND, key)
        if artifact is None:
            meter = Meter(device=task.device, batch_size=task.batch_size)
            with meter.counting(target), meter.clock():
                moved, identity_n = _try_identity(attack, target, test, task)
                won, one_step_n = _try_one_step(target, test, survivors, task) if survivors is not None else (0, 0)
            with meter.counting(plain), meter.clock():
                differ, rescored_n = _rescore(plain, stored, predictions)
            meter.images = identity_n + one_step_n + rescored_n
            found = Probes(identity_n, moved, one_step_n, won, rescored_n, differ, meter.state())
            artifact = store.put(KIND, key, vars(found))
    return Probes(**artifact.meta)


def _try_identity(attack: Attack, target: Classifier, test: Examples, task: Task) -> tuple[int, int]:
    count = min(IDENTITY_IMAGES, len(test))
    batch = next(test[:count].batches(count, task.device))
    nothing = ThreatModel(task.threat.norm, 0.0, task.threat.access)
    given = task.replace(attacked=nothing, indices=batch.indices)
    try:
        moved = attack.craft(target, batch.images.clone(), batch.labels, given)
    except Exception as error:  # a plugin may raise anything
        raise ContractError(
            f"{attack.name} fails with eps = 0 ({type(error).__name__}: {error}); it must return the images "
            "unchanged there."
        ) from error
    return int((moved != batch.images).flatten(1).any(1).sum()), count


def _try_one_step(target: Classifier, test: Examples, survivors: Tensor, task: Task) -> tuple[int, int]:
    rows = survivors.nonzero().flatten().tolist()[:ONE_STEP_IMAGES]
    if not rows:
        return 0, 0
    won = 0
    for batch in test[rows].batches(task.batch_size, task.device):

        def loss(images: Tensor, labels: Tensor = batch.labels) -> Tensor:
            return torch.nn.functional.cross_entropy(target(images), labels, reduction="none")

        _, gradient = input_gradient(loss, batch.images)
        moved = batch.images + task.threat.eps * task.threat.steepest(gradient)
        with torch.no_grad():
            answers = target(task.threat.project(batch.images, moved)).argmax(1)
        won += int((answers != batch.labels).sum())
    return won, len(rows)


def _rescore(plain: Classifier, stored: Iterator[Batch], predictions: Tensor) -> tuple[int, int]:
    batch = next(stored)
    images = batch.images[:RESCORED_IMAGES]
    expected = predictions[batch.indices[: len(images)]]
    with torch.no_grad():
        logits = torch.cat([plain(part) for part in images.split(17)]).cpu()
    # Rounding may decide between two equal logits; that is no disagreement.
    chosen = logits.gather(1, expected[:, None]).squeeze(1)
    close = logits.amax(1) - chosen <= 1e-3 * logits.abs().amax(1).clamp_min(1.0)
    return int((~close).sum()), len(images)
