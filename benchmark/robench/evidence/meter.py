"""The meter: image forwards and backwards, clocks and peak memory of one stage."""

from __future__ import annotations

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
        """Add the device's time inside to ``seconds``, and its peak memory; events on a CUDA GPU."""
        cuda = self.device.startswith("cuda")
        energy = _joules(self.device)
        _reset_peak(self.device)
        if cuda:
            start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            _record(start, self.device)
        self._begun = time.perf_counter()
        try:
            yield
        finally:
            if cuda:
                _record(stop, self.device)
                torch.cuda.synchronize(self.device)
                self.seconds += start.elapsed_time(stop) / 1000
            else:
                if not self.device.startswith("cpu"):
                    torch.accelerator.synchronize()  # mps and xpu return before they have computed
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

    def passes(self) -> int:
        """Return forwards and backwards together."""
        return self.forwards + self.backwards

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


def _record(event: Any, device: str) -> None:
    """Record an event on the device that is measured, whichever is the current one."""
    with torch.cuda.device(device):
        event.record()


def _reset_peak(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        # Linux: 5 resets the process's high-water mark (proc(5)); elsewhere the mark is the whole process's.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak(device: str) -> int:
    """Return the most memory that was used since the last reset, or by the whole process where nothing resets it."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return _process_peak()


def _process_peak() -> int:
    """Return the process's own high-water mark, or at least what it uses now; 0 where the system says neither."""
    import psutil

    try:
        memory = psutil.Process().memory_info()
    except (psutil.Error, OSError):  # Linux without a readable /proc
        memory = None
    used = int(getattr(memory, "rss", 0))
    peak = int(getattr(memory, "peak_wset", 0))  # Windows
    try:
        import resource  # POSIX alone has it
    except ImportError:
        return max(peak, used)
    return max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if psutil.MACOS else 1024), used)


def _joules(device: str) -> float | None:
    """Return the GPU's energy counter in joules, or None without a GPU or without nvidia-ml-py."""
    if not device.startswith("cuda"):
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        # By its own name: CUDA_VISIBLE_DEVICES renumbers the GPUs for torch, and not for NVML.
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode())
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except Exception:  # absent library, absent permission or an older card: the figure is optional
        return None
