"""What the parts of ``make bench-gpu`` measure with: clock, kernels, operations."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

#: What was measured, the figure, and how.
Row = tuple[str, str, str]
#: Seconds after which a contestant is not run again.
ENOUGH = 4.0


def wait(device: str) -> None:
    """Wait for the device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], device: str, rounds: int, warm: bool = True) -> float:
    """Return the median time of some rounds of ``work``, after one that does not count."""
    spent: list[float] = []
    for turn in range(rounds + warm):
        wait(device)
        begun = time.perf_counter()
        work()
        wait(device)
        if turn or not warm:
            spent.append(time.perf_counter() - begun)
        if spent and sum(spent) > ENOUGH:
            break
    return statistics.median(spent)


def kernels(work: Callable[[], object]) -> int:
    """Return how many kernels a CUDA device is given."""
    kinds = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[kinds.CPU, kinds.CUDA]) as profiled:
        work()
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profiled.events())


def products_a_second(device: str, side: int, rounds: int) -> float:
    """Return the float32 operations a second of a large product of matrices."""
    one = torch.rand(side, side, device=device)
    return 2 * side**3 / seconds(lambda: one @ one, device, rounds)


def operations(model: torch.nn.Module, image: torch.Tensor) -> int:
    """Return the operations of one image's forward and of the backward to it, counted."""
    own, image = copy.deepcopy(model).cpu(), image.cpu().requires_grad_(True)
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(own(image.clone()).sum(), image)  # the counter's hooks refuse a leaf
    return int(counter.get_total_flops())
