"""The meter: image forwards and backwards, clocks and peak memory of one stage."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robench.evidence.card import Cost


@dataclass
class Meter:
    """Count what passes through a classifier, and time the stage around it."""

    device: str = "cpu"
    forwards: int = 0
    backwards: int = 0
    images: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    batch_size: int = 0
    joules: float | None = None
    _begun: float | None = field(default=None, repr=False)

    def __deepcopy__(self, _memo: object) -> Meter:
        """Return the meter itself: a copied model goes on counting where its original does."""
        return self

    @contextmanager
    def counting(self, model: nn.Module) -> Iterator[None]:
        """Count the images of every forward through ``model``, and of every backward to its logits."""
        handle = model.register_forward_hook(self._count)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Add the device's time inside to ``seconds``, and its peak memory; CUDA events on a GPU."""
        cuda = self.device.startswith("cuda")
        energy = _joules(self.device)
        _reset_peak(self.device)
        if cuda:
            start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
        self._begun = time.perf_counter()
        try:
            yield
        finally:
            if cuda:
                stop.record()
                torch.cuda.synchronize(self.device)
                self.seconds += start.elapsed_time(stop) / 1000
            else:
                self.seconds += time.perf_counter() - self._begun
            self._begun = None
            self.peak_bytes = max(self.peak_bytes, _peak(self.device))
            used = _joules(self.device)
            if energy is not None and used is not None:
                self.joules = (self.joules or 0.0) + used - energy

    def _count(self, _module: nn.Module, _inputs: Any, logits: Any) -> None:
        if not isinstance(logits, Tensor):
            return
        count = len(logits)
        self.forwards += count
        if logits.requires_grad:
            logits.register_hook(lambda _gradient: self._count_backward(count))

    def _count_backward(self, count: int) -> None:
        self.backwards += count

    def state(self) -> dict[str, Any]:
        """Return the figures as JSON values, to be stored with an artifact; a running clock counts so far."""
        running = time.perf_counter() - self._begun if self._begun is not None else 0.0
        return {**{name: getattr(self, name) for name in _FIGURES}, "seconds": self.seconds + running}

    def add(self, state: dict[str, Any]) -> None:
        """Add figures that :meth:`state` returned, from this process or an earlier one."""
        for name in ("forwards", "backwards", "images", "seconds"):
            setattr(self, name, getattr(self, name) + state[name])
        self.peak_bytes = max(self.peak_bytes, state["peak_bytes"])
        self.batch_size = max(self.batch_size, state["batch_size"])
        if state["joules"] is not None:
            self.joules = (self.joules or 0.0) + state["joules"]

    def cost(self) -> Cost:
        """Return the figures as the card holds them."""
        return Cost(**self.state())


_FIGURES = ("images", "forwards", "backwards", "seconds", "peak_bytes", "batch_size", "joules")


def _reset_peak(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        # Linux: 5 resets the process's high-water mark (proc(5)); elsewhere the mark is the whole process's.
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak(device: str) -> int:
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _joules(device: str) -> float | None:
    """Return the GPU's energy counter in joules, or None without a GPU or without nvidia-ml-py."""
    if not device.startswith("cuda"):
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(torch.device(device).index or 0)
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except Exception:  # absent library, absent permission or an older card: the figure is optional
        return None
