"""Go on with fewer images at once where they do not fit into memory, and remember how many did."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn

from robench.contracts.task import Task
from robench.errors import DeviceError

_LOG = logging.getLogger(__name__)

#: What allocators and libraries raise as a bare RuntimeError: the CPU's, CUDA's own, cuBLAS and cuDNN, Apple's.
_WORDS = ("can't allocate memory", "not enough memory", "out of memory", "_alloc_failed")

T = TypeVar("T")

_most: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
#: Models of which no more than a batch of images is held at once.
_batch_by_batch: WeakSet[nn.Module] = WeakSet()


def is_out_of_memory(error: BaseException | None) -> bool:
    """Tell whether an error says, itself or as the cause of another, that memory ran out."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            return True
        if isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS):
            return True
        error = error.__cause__
    return False


def most_at_once(model: nn.Module, batch_size: int) -> int:
    """Return ``batch_size``, or how many images of this model fitted into memory if they were fewer."""
    return min(batch_size, _most.get(model, batch_size))


def halved(model: nn.Module, images: int, task: Task) -> int:
    """Return half of ``images``, which did not fit into memory, remember it for the model, and tell the user.

    Raises:
        DeviceError: it was a single image.
    """
    if images == 1:
        raise DeviceError(
            f"One image alone does not fit into the memory of {task.device}; choose a smaller model or another device."
        )
    empty_cache(task.device)
    half = images // 2
    _most[model] = min(half, _most.get(model, half))
    _LOG.warning("out of memory on %s: %d images at once, then %d", task.device, images, half)
    task.progress.note(f"Out of memory with {images} images at once; going on with {half} (see --batch-size).")
    return half


def empty_cache(device: str) -> None:
    """Give memory that torch keeps for later back to a device."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif not device.startswith("cpu"):
        getattr(torch.accelerator, "empty_cache", lambda: None)()  # torch 2.11 has it


def retry_in_halves(
    work: Callable[[Tensor, Tensor, Sequence[int]], Tensor],
    images: Tensor,
    labels: Tensor,
    places: Sequence[int],
    task: Task,
    model: nn.Module,
) -> Tensor:
    """Return ``work(images, labels, places)``, in as many parts as fit into memory; the user is told.

    How many images of ``model`` fitted is remembered, so that memory runs out once and not in every batch.

    Raises:
        DeviceError: a single image does not fit.
    """
    size = most_at_once(model, len(images))
    if size == len(images):
        try:
            return work(images, labels, places)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        size = halved(model, len(images), task)  # not inside, where the error holds on to what filled the memory
    return _in_parts(work, images, labels, places, task, model, size)


def _in_parts(
    work: Callable[[Tensor, Tensor, Sequence[int]], Tensor],
    images: Tensor,
    labels: Tensor,
    places: Sequence[int],
    task: Task,
    model: nn.Module,
    size: int,
) -> Tensor:
    """Return ``work(images, labels, places)`` of so many images at once, each part halved where it must be."""
    parts = [slice(start, start + size) for start in range(0, len(images), size)]
    return torch.cat([retry_in_halves(work, images[part], labels[part], places[part], task, model) for part in parts])


def several_batches(model: nn.Module) -> bool:
    """Tell whether several batches' worth of images fitted beside the model, as far as it was tried."""
    return model not in _batch_by_batch


def retry_in_batches(
    work: Callable[[Tensor, Tensor, Sequence[int]], Tensor],
    images: Tensor,
    labels: Tensor,
    places: Sequence[int],
    task: Task,
    model: nn.Module,
) -> Tensor:
    """Return ``work(images, labels, places)``, of several batches' worth of images; if memory runs out batch by batch.

    That they did not fit is remembered, and a batch alone is halved where it must be.

    Raises:
        DeviceError: a single image does not fit.
    """
    size = task.batch_size
    if len(images) > size and several_batches(model):
        try:
            return work(images, labels, places)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        _batch_by_batch.add(model)  # not inside, where the error holds on to what filled the memory
        empty_cache(task.device)
        _LOG.warning("out of memory on %s: %d images held at once, then %d", task.device, len(images), size)
        task.progress.note(f"Out of memory with {len(images)} images held at once; going on batch by batch.")
    if len(images) <= size:
        return retry_in_halves(work, images, labels, places, task, model)
    return _in_parts(work, images, labels, places, task, model, size)


def retry_smaller(work: Callable[[int], T], batch_size: int, task: Task, model: nn.Module) -> T:
    """Return ``work(batch_size)``, or of fewer images at once where memory runs out.

    Raises:
        DeviceError: a single image does not fit.
    """
    size = most_at_once(model, batch_size)
    while True:
        try:
            return work(size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        size = halved(model, size, task)
