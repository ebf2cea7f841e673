"""probe: let the harness try to disprove a number, while the models are at hand.

What it finds is plain figures, kept in the store and weighed by ``judge``; its passes are counted apart from the
attack's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from robench.contracts.adaptive import counted, drawing
from robench.contracts.examples import Batch
from robench.evidence.fingerprint import fingerprint
from robench.evidence.meter import Meter
from robench.evidence.store import Store
from robench.gate.applicability import seen_by
from robench.gate.level import Level
from robench.gate.pass_budget import ASKED_AGAIN
from robench.gate.probe_context import AttackContext, ProbeContext
from robench.gate.registry import ATTACK_PROBES, MODEL_PROBES
from robench.runtime.out_of_memory import retry_smaller

if TYPE_CHECKING:
    from robench.pipeline.stages.score import Outcomes  # the type of what is handed on, not the stage

_LOG = logging.getLogger(__name__)

KIND = "probes"

#: Images are re-scored from the store with the plain model in other batches of this size.
OTHER_BATCH = 17

ProbeResults = dict[str, Any]


def attack_probe_key(cell: str, level: Level) -> str:
    """Return the store's key of what is found on the attack of a cell."""
    return fingerprint("probe", cell=cell, level=asdict(level))


def probe_model(context: ProbeContext, store: Store, key: str) -> ProbeResults:
    """Return what the harness tried on one defended victim: figures by probe, and their ``meter``."""
    with store.lock(KIND, key):
        artifact = store.get(KIND, key)
        _LOG.info("probes of %s: %s", context.defense.name, "in the store" if artifact else "are made")
        if artifact is None:
            meter = Meter(device=context.task.device, batch_size=context.task.batch_size)
            context.budget.spent = meter.passes
            with (
                _counting(meter, [counted(context.target), context.prepared, context.plain]),
                meter.clock(),
                drawing(context.defense.randomized, context.task, "row"),
            ):
                probes = context.task.progress.track(
                    MODEL_PROBES.items(), len(MODEL_PROBES), f"probe {context.defense.name}"
                )
                found: ProbeResults = {name: _fitting(probe, seen_by(name, context)) for name, probe in probes}
            artifact = store.put(KIND, key, {**found, "beyond": context.budget.beyond, "meter": meter.state()})
    return artifact.meta


def probe_attack(
    probed: AttackContext, stored: Iterator[Batch], scored: Outcomes, clean: Outcomes, store: Store, key: str
) -> ProbeResults:
    """Return what the harness tried on one attack: figures by probe, and their ``meter``.

    Args:
        probed: the attack under suspicion.
        stored: the adversarial images as they lie in the store.
        scored: the answers that were recorded on them.
        clean: the answers that were recorded on the clean images, before anybody attacked.
        store: where the figures are kept.
        key: their fingerprint.
    """
    with store.lock(KIND, key):
        artifact = store.get(KIND, key)
        _LOG.info("probes of %s: %s", probed.attack.name, "in the store" if artifact else "are made")
        if artifact is None:
            context, batch = probed.context, next(stored)
            probed = replace(probed, shown=batch.images)
            meter = Meter(device=context.task.device, batch_size=context.task.batch_size)
            probed.budget.spent = meter.passes
            models = [counted(probed.target), counted(context.target), context.prepared, context.plain]
            with (
                _counting(meter, models),
                meter.clock(),
                drawing(
                    context.defense.randomized,
                    context.task,
                    "trial",
                    probed.attack.name,
                    probed.white_box,
                ),
            ):
                found: ProbeResults = {}
                text = f"probe {probed.attack.name} on {context.defense.name}"
                for name, probe in context.task.progress.track(ATTACK_PROBES.items(), len(ATTACK_PROBES), text):
                    seen = _fitting_attack(probe, probed)
                    found |= seen if name == "behaviour" else {name: seen}
                count = probed.budget.images("rescored", context.price, min(ASKED_AGAIN, len(batch.images)))
                found["rescored"] = _rescore(context, context.plain, batch, scored, count)
                found["clean again"] = _clean_again(probed, clean)
            artifact = store.put(KIND, key, {**found, "beyond": probed.budget.beyond, "meter": meter.state()})
    return artifact.meta


def _fitting(probe: Callable[[ProbeContext], ProbeResults], context: ProbeContext) -> ProbeResults:
    """Return what a probe finds, of fewer images at once where memory runs out."""

    def tried(size: int) -> ProbeResults:
        return probe(_smaller(context, size))

    return retry_smaller(tried, context.task.batch_size, context.task, context.target)


def _fitting_attack(probe: Callable[[AttackContext], ProbeResults], probed: AttackContext) -> ProbeResults:
    """Return what a probe of an attack finds, of fewer images at once where memory runs out."""
    task = probed.context.task

    def tried(size: int) -> ProbeResults:
        return probe(replace(probed, context=_smaller(probed.context, size)))

    return retry_smaller(tried, task.batch_size, task, probed.target)


def _smaller(context: ProbeContext, size: int) -> ProbeContext:
    return context if size == context.task.batch_size else replace(context, task=context.task.replace(batch_size=size))


@contextmanager
def _counting(meter: Meter, models: Iterable[nn.Module]) -> Iterator[None]:
    with ExitStack() as stack:
        for model in {id(model): model for model in models}.values():
            stack.enter_context(meter.counting(model))
        yield


def _rescore(context: ProbeContext, model: nn.Module, batch: Batch, scored: Outcomes, count: int) -> ProbeResults:
    """Return on how many of a batch's first ``count`` images ``model``, in other batches, now answers otherwise."""
    if not count:
        return {"n": 0, "differ": 0, "rate": 0.0, "scored": 0.0}
    draws = context.price
    images, places = batch.images[:count], batch.indices[:count]
    labels = batch.labels[:count].cpu()
    total, hits = torch.zeros(()), torch.zeros(count)
    with torch.no_grad():
        for draw in range(draws):
            logits = torch.cat([model(part) for part in images.split(OTHER_BATCH)]).cpu()
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


def _clean_again(probed: AttackContext, clean: Outcomes) -> ProbeResults:
    """Return what has become of the clean answers, of the model that was scored and of the plain one."""
    context = probed.context
    count = probed.budget.images("clean again", 2 * context.price, min(ASKED_AGAIN, len(context.test)))
    batch = next(context.test[: max(count, 1)].batches(max(count, 1), context.task.device))
    found = [_rescore(context, model, batch, clean, count) for model in (context.prepared, context.plain)]
    return max(found, key=lambda seen: (seen["differ"], abs(seen["rate"] - seen["scored"])))
