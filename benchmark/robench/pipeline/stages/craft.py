"""craft: let the attack move the images, then judge from the tensors what it really did."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robench.contracts.adaptive import Expected, counted, drawing
from robench.contracts.asked_in_parts import asked_at_once
from robench.contracts.classifier import Classifier
from robench.contracts.components import Attack
from robench.contracts.examples import Examples
from robench.contracts.search_precision import EXACT, Precision
from robench.contracts.task import Task
from robench.errors import ContractError, DataError, RobenchError, StoreError, attributed_to, require
from robench.evidence.adversarial_set import KIND, AdversarialSet, chunk_key, whole
from robench.evidence.artifact_folder import Artifact
from robench.evidence.craft_checkpoint import Unfinished
from robench.evidence.fingerprint import CHUNK
from robench.evidence.meter import Meter
from robench.evidence.provenance import hardware
from robench.evidence.store import Store
from robench.evidence.tensor_digests import digest
from robench.pipeline.joint_chunks import HELD, by_part, groups, shared
from robench.pipeline.returned_images import check_returned, inside, inspect
from robench.runtime.deterministic import repeatably
from robench.runtime.float32 import held_to_float32
from robench.runtime.host_copies import HostCopies
from robench.runtime.inference import freeze
from robench.runtime.model_guard import unchanged
from robench.runtime.out_of_memory import is_out_of_memory, most_at_once, retry_in_batches, several_batches
from robench.runtime.rounded_search import lacking, searching_in
from robench.runtime.timeout import time_limit

_LOG = logging.getLogger(__name__)

#: Metadata and tensors of a chunk, as they are stored.
Crafted = tuple[dict[str, Any], dict[str, Tensor]]
#: Images to attack, labels, their places, and the places that are done with them.
Attacked = tuple[Tensor, Tensor, list[int], list[int]]

#: Most images of the warm-up pass on a CPU, where the first call's set-up does not depend on the batch.
WARM_UP = 16

_WHERE = {True: "are crafted", False: "in the store"}


def craft(
    attack: Attack,
    model: Classifier,
    test: Examples,
    worth_attacking: Tensor | None,
    task: Task,
    store: Store,
    key: str,
    text: str = "craft",
    complete: bool = True,
    numbers: Sequence[int] | None = None,
    precision: Precision = EXACT,
) -> AdversarialSet:
    """Return the adversarial set: stored chunks are kept, missing ones are crafted.

    Args:
        attack: the attack.
        model: the classifier attacked, prepared for inference (white-box: the defended victim end to end).
        test: the clean test images.
        worth_attacking: (N,) bool; the others stay clean, being lost already. None attacks all.
        task: carries the threat model and whether an image may leave once it is lost.
        store: where the chunks go.
        key: the set's fingerprint.
        text: what the progress shows.
        complete: craft chunks anew of which not all images were kept.
        numbers: where ``test`` is a part of the test set, each image's number there, from which its randomness follows.
        precision: what the model is computed in while the attack runs.
    """
    numbers = range(len(test)) if numbers is None else numbers
    work = _Chunks(attack, model, test, worth_attacking, task, store, key, complete, numbers, precision)
    starts = range(0, len(test), CHUNK)
    found = dict(task.progress.track(work.all(starts), len(starts), text))
    chunks = [found[start] for start in starts]
    meter = Meter(device=task.device)
    for chunk in chunks:
        meter.add(chunk.meta["meter"])
    made = AdversarialSet(key, chunks, test.labels, meter)
    places = made.named("made_on")
    if len(places) > 1:
        task.progress.note(
            f"{text}: they were crafted on {len(places)} devices, whose seconds are added up: {'; '.join(places)}."
        )
    return made


@dataclass
class _Chunks:
    """Craft one set chunk by chunk, each once."""

    attack: Attack
    model: Classifier
    test: Examples
    worth_attacking: Tensor | None
    task: Task
    store: Store
    key: str
    complete: bool
    numbers: Sequence[int]
    precision: Precision
    warm: bool = False

    def all(self, starts: Sequence[int]) -> Iterator[tuple[int, Artifact]]:
        """Yield every chunk with the image that it begins with: last, waiting for them, those that others work on."""
        held: list[int] = []
        left, alone = list(starts), True
        while left:
            group = self._next(left, alone)
            with ExitStack() as locks:
                free = [start for start in group if locks.enter_context(self._lock_at_once(start))]
                found = self.stored(free)
            held += [start for start in group if start not in found]
            left, alone = left[len(group) :], alone and len(free) == len(group)
            yield from found.items()
        for start in held:
            with self.store.lock(KIND, chunk_key(self.key, start)):
                found = self.stored([start])
            yield from found.items()

    def _next(self, starts: Sequence[int], alone: bool) -> list[int]:
        """Return the chunks that are crafted together next; where others work on the set, no more than a batch."""
        # Where answers are random they are drawn batch by batch, and no batch may depend on who crafts what.
        at_once = CHUNK if isinstance(self.model, Expected) else self.task.batch_size
        most = HELD * at_once
        at_once = most if alone and self._several else at_once
        return groups(starts, self.worth_attacking, at_once, CHUNK, most)[0]

    @property
    def _several(self) -> bool:
        """Tell whether the attack is handed several batches' worth of images: a GPU gains, as they fall."""
        suits = self.attack.asks_in_parts and self.task.stop_early and not isinstance(self.model, Expected)
        return suits and not self.task.device.startswith("cpu") and several_batches(self.model)

    def _lock_at_once(self, start: int) -> AbstractContextManager[bool]:
        return self.store.lock_at_once(KIND, chunk_key(self.key, start))

    def stored(self, starts: Sequence[int]) -> dict[int, Artifact]:
        """Return the chunks from these images on, crafted together if they, or images needed, are not in the store."""
        keys = {start: chunk_key(self.key, start) for start in starts}
        kept = {start: self.store.get(KIND, key) for start, key in keys.items()}
        missing = []
        for start, chunk in kept.items():
            needed = chunk is None or (self.complete and not whole(chunk))
            last = min(start + CHUNK, len(self.test))
            _LOG.info("images %d to %d under %s: %s", start, last - 1, self.attack.name, _WHERE[needed])
            missing += [start] * needed
        if missing:
            joint = f"-{len(missing)}" if len(missing) > 1 else ""
            unfinished = self.store.scratch(KIND, f"{keys[missing[0]]}{joint}")
            for start, crafted in zip(missing, self._craft(missing, unfinished), strict=True):
                chunk, key = kept[start], keys[start]
                kept[start] = self._completed(chunk, key, *crafted) if chunk else self.store.put(KIND, key, *crafted)
            unfinished.unlink(missing_ok=True)
        return {start: chunk for start, chunk in kept.items() if chunk is not None}

    def _completed(self, kept: Artifact, key: str, meta: dict[str, Any], tensors: dict[str, Tensor]) -> Artifact:
        """Put back the images of a chunk that were not kept; StoreError if they are others now."""
        if kept.meta["images"] != meta["images"]:
            raise StoreError(
                f"Not all images of {self.attack.name} were kept (--keep-images), and crafting them here gives others "
                "(another processor or thread count rounds otherwise), so what is stored of them cannot be completed; "
                "compute the cell in another --store."
            )
        return self.store.replace(KIND, key, meta, tensors)

    def _craft(self, starts: Sequence[int], unfinished: Path) -> list[Crafted]:
        if not self.warm:
            with attributed_to(f"{self.attack.name}.fits", DataError):
                self.attack.fits(self.test, self.task)
            if said := lacking(self.precision, self.task.device):
                self.task.progress.note(said)
            _warm_up(self.model, self.test, self.task, self.precision)
            self.warm = True
        places = [range(start, min(start + CHUNK, len(self.test))) for start in starts]
        rows = [row for chunk in places for row in chunk]
        mask = torch.ones(len(rows), dtype=torch.bool)
        if self.worth_attacking is not None:
            mask = self.worth_attacking[rows]
        numbers, lengths = [self.numbers[row] for row in rows], [len(chunk) for chunk in places]
        return _craft_chunks(
            self.attack,
            self.model,
            self.test[rows],
            lengths,
            mask,
            numbers,
            self.task,
            unfinished,
            self.precision,
            self._several,
        )


def _craft_chunks(
    attack: Attack,
    model: Classifier,
    part: Examples,
    lengths: Sequence[int],
    mask: Tensor,
    numbers: Sequence[int],
    task: Task,
    path: Path,
    precision: Precision,
    several: bool,
) -> list[Crafted]:
    """Return what is stored of each of the chunks of these ``lengths`` that ``part`` holds one behind another."""
    meter = Meter(device=task.device)
    result = torch.empty(len(part), *part.shape)
    copies = HostCopies(result)
    nothing = {"outside_ball": 0, "outside_box": 0, "unmoved": 0, "excess": 0.0, "largest": 0.0}
    # By chunk; one alone lies open, as it lay in the unfinished work of earlier releases.
    single = len(lengths) == 1
    found: dict[str, Any] = {**nothing} if single else {str(one): {**nothing} for one in range(len(lengths))}

    def sound(places: list[int], images: Tensor) -> bool:
        clean = [batch.images.cpu() for batch in part[places].batches(task.batch_size)] if places else []
        return not clean or inside(torch.cat(clean), images, task)

    unfinished = Unfinished(path, result, found, meter, sound, task.progress.note, copies.settle)
    counts: list[dict[str, Any]] = [found] if single else [found[str(one)] for one in range(len(lengths))]

    def on_batch(images: Tensor, labels: Tensor, places: Sequence[int]) -> Tensor:
        chosen = task.replace(indices=[numbers[place] for place in places], checkpoint=unfinished.checkpoint(places))
        made, names = repeatably(
            lambda: _call(attack, model, images, labels, chosen, meter, precision), model, attack.name, task.device
        )
        for one in counts if names else ():
            one["unrepeatable"] = sorted({*one.get("unrepeatable", ()), *names})
        return made

    serve = _as_they_lie if single and not several else partial(_filled, size=len(part) if several else task.batch_size)
    for images, labels, places, over in serve(part, mask, unfinished, copies, task):
        adversarial = retry_in_batches(on_batch, images, labels, places, task, model)
        check_returned(attack, images, adversarial)
        copies.settle()  # those of the batch before, which were copied while this one was attacked
        for number, rows in by_part(places, lengths):
            copies.put(places[rows], inspect(attack, images[rows], adversarial[rows], task, counts[number]))
        meter.images += len(places)
        meter.batch_size = max(meter.batch_size, min(len(places), task.batch_size))
        unfinished.finish(over)
    copies.settle()
    attacked = [int(chunk.sum()) for chunk in mask.split(list(lengths))]
    crafted: list[Crafted] = []
    chunks = zip(counts, attacked, shared(meter.state(), attacked), result.split(list(lengths)), strict=True)
    for counted_there, count, state, kept in chunks:
        made_on = {"images": digest(kept), "attacked": count, "made_on": hardware(task.device)}
        crafted.append(({**counted_there, "meter": state, **made_on}, {"images": kept}))
    return crafted


def _as_they_lie(
    part: Examples, mask: Tensor, unfinished: Unfinished, copies: HostCopies, task: Task
) -> Iterator[Attacked]:
    """Yield what is to be attacked of each batch of the images, and the whole batch's places; the rest stays clean."""
    for batch in part.batches(task.batch_size, task.device):
        missing = ~unfinished.done[batch.indices]
        clean = (~mask[batch.indices] & missing).nonzero().flatten().tolist()
        if clean:
            copies.put([batch.indices[row] for row in clean], batch.images[clean])
        rows = (mask[batch.indices] & missing).nonzero().flatten().tolist()
        if not rows:
            continue
        every = len(rows) == len(batch.images)
        images, labels = (batch.images, batch.labels) if every else (batch.images[rows], batch.labels[rows])
        yield images, labels, [batch.indices[row] for row in rows], batch.indices


def _filled(
    part: Examples, mask: Tensor, unfinished: Unfinished, copies: HostCopies, task: Task, size: int
) -> Iterator[Attacked]:
    """Yield what is to be attacked, so many at once; the rest stays clean, and is there before."""
    clean = (~mask & ~unfinished.done).nonzero().flatten().tolist()
    for batch in part[clean].batches(task.batch_size):
        places = [clean[row] for row in batch.indices]
        copies.put(places, batch.images)
        unfinished.done[places] = True
    rows = (mask & ~unfinished.done).nonzero().flatten().tolist()
    for batch in part[rows].batches(size, task.device):
        places = [rows[row] for row in batch.indices]
        yield batch.images, batch.labels, places, places


def _call(
    attack: Attack, model: Classifier, images: Tensor, labels: Tensor, task: Task, meter: Meter, precision: Precision
) -> Tensor:
    start = task.indices[0] if len(task.indices) else 0
    try:
        with (
            meter.counting(counted(model)),
            meter.clock(),
            drawing(isinstance(model, Expected), task, "craft", start),
            searching_in(precision, counted(model), task.device),
            unchanged(model, attack.name),
            time_limit(task.timeout, attack.name, math.ceil(len(images) / task.batch_size)),
            held_to_float32(attack.name),
            asked_at_once(most_at_once(model, task.batch_size)),
        ):
            # A clone, so that an attack which writes into its argument does not move the clean images.
            adversarial: Tensor = attack.craft(model, images.clone(), labels, task)
    except RobenchError:
        raise
    except Exception as error:  # a plugin may raise anything; an attack that raises never scores as robust
        if is_out_of_memory(error):
            raise
        where = f"images {task.indices[0]} to {task.indices[-1]}" if len(task.indices) else "the batch"
        raise ContractError(f"{attack.name} failed on {where}: {type(error).__name__}: {error}.") from error
    finally:
        # The next attack meets the model as this one did, whatever this one did to it.
        greedy = any(parameter.grad is not None for parameter in model.parameters())
        model.zero_grad(set_to_none=True)
        freeze(model, task.device)
    require(not greedy, f"{attack.name} left gradients on the model's parameters; use robench.input_gradient.")
    return adversarial


def _warm_up(model: Classifier, test: Examples, task: Task, precision: Precision) -> None:
    """Make the first forward and backward happen outside every clock.

    Raises:
        ContractError: the model cannot be computed at this precision.
    """
    most = task.batch_size if task.device.startswith("cuda") else min(task.batch_size, WARM_UP)
    count = min(len(test), most)
    images = next(test[:count].batches(count, task.device)).images.requires_grad_(True)
    try:
        with searching_in(precision, counted(model), task.device):
            total = model(images).sum()
            if total.requires_grad:  # answers that nothing differentiates are attacked by queries
                torch.autograd.grad(total, images)
    except Exception as error:
        if precision == EXACT or isinstance(error, RobenchError) or is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split()).rstrip(".")[:300]
        raise ContractError(
            f"The model under attack cannot be computed in {precision}: {type(error).__name__}: {reason}. Leave "
            f"--precision {precision} out."
        ) from error
