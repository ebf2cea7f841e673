"""Go on with half the batch where a batch does not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from robench.contracts.task import Task
from robench.errors import DeviceError

#: The CPU allocator's own words; it raises a bare RuntimeError.
_CPU_WORDS = ("can't allocate memory", "not enough memory")


def retry_in_halves(
    work: Callable[[Tensor, Tensor, Sequence[int]], Tensor],
    images: Tensor,
    labels: Tensor,
    places: Sequence[int],
    task: Task,
) -> Tensor:
    """Return ``work(images, labels, places)``, in as many parts as fit into memory; the user is told.

    Raises:
        DeviceError: a single image does not fit.
    """
    try:
        return work(images, labels, places)
    except (torch.OutOfMemoryError, MemoryError):
        pass
    except RuntimeError as error:
        if not any(words in str(error) for words in _CPU_WORDS):
            raise
    if len(images) == 1:
        raise DeviceError(
            f"One image alone does not fit into the memory of {task.device}; choose a smaller model or another device."
        )
    if task.device.startswith("cuda"):
        torch.cuda.empty_cache()
    half = len(images) // 2
    task.progress.note(f"Out of memory with {len(images)} images at once; going on with {half} (see --batch-size).")
    parts = [slice(0, half), slice(half, None)]
    return torch.cat([retry_in_halves(work, images[part], labels[part], places[part], task) for part in parts])
