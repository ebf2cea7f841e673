"""What is done of an adversarial chunk, saved on disk, so that a killed run goes on inside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robench.contracts.task import Checkpoint
from robench.evidence.meter import Meter

#: Seconds of work that a kill may cost, beside the batch or the attack's own step that it falls into.
EVERY = 1.0
#: Most of the time that writing may take: one part in this many.
SHARE = 20


class Unfinished:
    """Keep a chunk's finished images, its counts, and the attack's own state on the batch at hand, in one file.

    One file, so that images, counts and state are always of the same moment. Nothing is written more often than
    once in ``EVERY`` seconds, nor so often that writing takes more than 1 / ``SHARE`` of the time.

    Args:
        path: the file, replaced atomically.
        images: (N, C, H, W) of the chunk, on the CPU; finished ones from an earlier process are put in here.
        found: counts of what was wrong with the images, likewise brought up to date.
        meter: likewise.
        sound: says of places and their images from an earlier process whether the harness would have let them pass.
        note: told when damaged work is dropped.
        settle: waits until the finished images are in ``images``, to which a GPU may still be copying them.
    """

    def __init__(
        self,
        path: Path,
        images: Tensor,
        found: dict[str, Any],
        meter: Meter,
        sound: Callable[[list[int], Tensor], bool] = lambda places, images: True,
        note: Callable[[str], None] = lambda text: None,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        self._file = Checkpoint(path, note=note)
        self._sound, self._settle = sound, settle
        self._images, self._found, self._meter = images, found, meter
        self._batch: tuple[list[int], Any] | None = None
        self._written, self._pause = time.monotonic(), EVERY
        self.done = torch.zeros(len(images), dtype=torch.bool)
        self._restore(self._file.load())

    def finish(self, places: Sequence[int]) -> None:
        """Note that the images at these places of the chunk are done."""
        self.done[list(places)] = True
        self._batch = None
        if not bool(self.done.all()):  # the chunk itself is about to be stored
            self._write()

    def checkpoint(self, places: Sequence[int]) -> Checkpoint:
        """Return the checkpoint for an attack on the images at these places of the chunk."""
        return _OfBatch(self, list(places))

    def discard(self) -> None:
        """Forget everything: the chunk is stored."""
        self._file.discard()

    def keep_state(self, places: list[int], state: Any) -> None:
        """Keep the attack's ``state`` on the images at ``places``."""
        self._batch = (places, state)
        self._write()

    def state(self, places: list[int]) -> Any | None:
        """Return the attack's state, if it is one on exactly these images."""
        return self._batch[1] if self._batch is not None and self._batch[0] == places else None

    def forget_state(self) -> None:
        """Drop the attack's state."""
        self._batch = None

    def _write(self) -> None:
        begun = time.monotonic()
        if begun - self._written < self._pause:
            return
        self._settle()
        self._file.save(
            {
                "done": self.done,
                "images": self._images[self.done],
                "found": dict(self._found),
                "meter": self._meter.state(),
                "batch": self._batch,
            }
        )
        self._written = time.monotonic()
        self._pause = max(EVERY, SHARE * (self._written - begun))

    def _restore(self, kept: Any) -> None:
        if kept is None:
            return
        if not self._usable(kept):
            self._file.drop("it is not what robench writes, or its images are none that an attack may return")
            return
        self.done = kept["done"]
        self._images[self.done] = kept["images"]
        self._found.update(kept["found"])
        self._meter.add(kept["meter"])
        self._batch = kept["batch"]

    def _usable(self, kept: Any) -> bool:
        if not isinstance(kept, dict) or {*kept} != {"done", "images", "found", "meter", "batch"}:
            return False
        done, images = kept["done"], kept["images"]
        if done.shape != self.done.shape or done.dtype != torch.bool or {*kept["found"]} != {*self._found}:
            return False
        if images.dtype != torch.float32 or images.shape != (int(done.sum()), *self._images.shape[1:]):
            return False
        return self._sound(done.nonzero().flatten().tolist(), images)


class _OfBatch(Checkpoint):
    """Keep an attack's state inside the file of the chunk it works on."""

    def __init__(self, chunk: Unfinished, places: list[int]) -> None:
        super().__init__()
        self._chunk, self._places = chunk, places

    def save(self, state: Any) -> None:
        """Keep ``state`` beside the finished images."""
        self._chunk.keep_state(self._places, state)

    def load(self) -> Any | None:
        """Return the last state saved for exactly these images, or None."""
        return self._chunk.state(self._places)

    def discard(self) -> None:
        """Forget the state."""
        self._chunk.forget_state()
