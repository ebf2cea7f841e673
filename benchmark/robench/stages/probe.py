"""probe: let the harness try to disprove a number, while the models are at hand.

What it finds is plain figures, kept in the store and weighed by ``judge``; its passes are counted apart from the
attack's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from robench.adaptive import counted, drawing
from robench.evidence.meter import Meter
from robench.evidence.store import Store
from robench.examples import Batch
from robench.gate.registry import ROW_PROBES, TRIAL_PROBES
from robench.gate.subject import Subject, Trial

if TYPE_CHECKING:
    from robench.stages.score import Outcomes  # the type of what is handed on, not the stage

KIND = "probes"

#: Images re-scored from the store with the plain model, in other batches of this size.
RESCORED_IMAGES, OTHER_BATCH = 64, 17

Found = dict[str, Any]


def probe_row(subject: Subject, store: Store, key: str) -> Found:
    """Return what the harness tried on one defended victim: figures by probe, and their ``meter``."""
    with store.lock(KIND, key):
        artifact = store.get(KIND, key)
        if artifact is None:
            meter = Meter(device=subject.task.device, batch_size=subject.task.batch_size)
            with (
                _counting(meter, [counted(subject.target), subject.prepared, subject.plain]),
                meter.clock(),
                drawing(subject.defense.randomized, subject.task, "row"),
            ):
                probes = subject.task.progress.track(
                    ROW_PROBES.items(), len(ROW_PROBES), f"probe {subject.defense.name}"
                )
                found: Found = {name: look(subject) for name, look in probes}
            artifact = store.put(KIND, key, {**found, "meter": meter.state()})
    return artifact.meta


def probe_trial(trial: Trial, stored: Iterator[Batch], scored: Outcomes, store: Store, key: str) -> Found:
    """Return what the harness tried on one attack: figures by probe, and their ``meter``.

    Args:
        trial: the attack under suspicion.
        stored: the adversarial images as they lie in the store.
        scored: the answers that were recorded on them.
        store: where the figures are kept.
        key: their fingerprint.
    """
    with store.lock(KIND, key):
        artifact = store.get(KIND, key)
        if artifact is None:
            subject = trial.subject
            meter = Meter(device=subject.task.device, batch_size=subject.task.batch_size)
            models = [counted(trial.target), counted(subject.target), subject.prepared, subject.plain]
            with (
                _counting(meter, models),
                meter.clock(),
                drawing(subject.defense.randomized, subject.task, "trial", trial.attack.name, trial.white_box),
            ):
                found: Found = {}
                text = f"probe {trial.attack.name} on {subject.defense.name}"
                for name, look in subject.task.progress.track(TRIAL_PROBES.items(), len(TRIAL_PROBES), text):
                    seen = look(trial)
                    found |= seen if name == "conduct" else {name: seen}
                found["rescored"] = _rescore(trial, stored, scored)
            artifact = store.put(KIND, key, {**found, "meter": meter.state()})
    return artifact.meta


@contextmanager
def _counting(meter: Meter, models: Iterable[nn.Module]) -> Iterator[None]:
    with ExitStack() as stack:
        for model in {id(model): model for model in models}.values():
            stack.enter_context(meter.counting(model))
        yield


def _rescore(trial: Trial, stored: Iterator[Batch], scored: Outcomes) -> Found:
    subject, draws = trial.subject, trial.subject.price
    batch = next(stored)
    count = trial.purse.images(0.2, draws, min(RESCORED_IMAGES, len(batch.images)), least=8)
    images, places = batch.images[:count], batch.indices[:count]
    labels = batch.labels[:count].cpu()
    total, hits = torch.zeros(()), torch.zeros(count)
    with torch.no_grad():
        for draw in range(draws):
            logits = torch.cat([subject.plain(part) for part in images.split(OTHER_BATCH)]).cpu()
            hits += logits.argmax(1) == labels
            total = logits if draw == 0 else total + logits
    # Rounding may decide between two equal logits; that is no disagreement.
    chosen = total.gather(1, scored.predictions[places][:, None]).squeeze(1)
    close = total.amax(1) - chosen <= 1e-3 * total.abs().amax(1).clamp_min(1.0)
    return {
        "n": count,
        "differ": int((~close).sum()),
        "rate": float(hits.mean()) / draws,
        "scored": float(scored.hits[places].float().mean()) / draws,
    }
