"""Pretend a CUDA device on a machine without one: device mistakes show, and what a GPU would do is counted.

    with pretended_cuda() as counts:
        moved = attack.craft(model.to("cuda"), images.to("cuda"), labels.to("cuda"), task)
    print(sum(counts.launches.values()), sum(counts.waits.values()))

Inside, code that names ``cuda`` runs, its arithmetic done on the CPU, bit for bit. A tensor on the CPU that meets one
on the GPU, ``.numpy()`` on the GPU, a CPU's generator for a draw there: what fails on a GPU fails here. It cannot show
how a GPU rounds or how fast it is, and knows neither streams nor graphs. Other threads do not see the device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

from robench.testing.pretended_counts import Counts
from robench.testing.pretended_names import Names
from robench.testing.pretended_tensor import Dispatch, set_up

#: What the device calls itself.
NAME = "pretended GPU"


@contextmanager
def pretended_cuda(devices: int = 1, *, reciprocal: bool = False) -> Iterator[Counts]:
    """Let this thread see ``devices`` CUDA devices inside, and yield the counts of what they are given to do.

    Args:
        devices: how many there are.
        reciprocal: divide by a number as CUDA does, by its reciprocal, which rounds otherwise than a CPU.

    Raises:
        NotPretended: this process holds another backend in the place of the pretended one.
    """
    set_up()
    counts = Counts()
    with ExitStack() as stack:
        for name, stub in _stubs(counts, devices).items():
            stack.enter_context(mock.patch.object(torch.cuda, name, stub, create=True))
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        stack.enter_context(Dispatch(counts, reciprocal=reciprocal))
        stack.enter_context(Names(counts))
        yield counts


def _stubs(counts: Counts, devices: int) -> dict[str, Any]:
    """Return what stands in for functions of ``torch.cuda``."""
    current = [0]

    def wait(_device: Any = None) -> None:
        counts.waits["synchronize"] += 1

    def choose(device: Any) -> None:
        current[0] = index_of(device)

    def index_of(device: Any) -> int:
        found = device if isinstance(device, int) else torch.device(device).index
        index = current[0] if found is None else found
        if index >= devices:
            raise RuntimeError("CUDA error: invalid device ordinal")
        return index

    class Chosen:
        """Make a device the current one inside."""

        def __init__(self, device: Any) -> None:
            self._device = index_of(device)

        def __enter__(self) -> None:
            self._before, current[0] = current[0], self._device

        def __exit__(self, *_error: object) -> None:
            current[0] = self._before

    class Event:
        """Remember when it was recorded, and on which device."""

        def __init__(self, enable_timing: bool = False) -> None:
            self._at, self._device = 0.0, -1

        def record(self, _stream: Any = None) -> None:
            self._at, self._device = time.perf_counter(), current[0]
            counts.events.append(current[0])

        def elapsed_time(self, other: Event) -> float:
            return (other._at - self._at) * 1000

        def synchronize(self) -> None:
            wait()

    def nothing() -> Callable[..., None]:
        return lambda *_args, **_kwargs: None  # another one each time: torch's compiler looks functions up by identity

    properties = SimpleNamespace(name=NAME, total_memory=1 << 34, major=9, minor=0, multi_processor_count=1, uuid="0")
    return {
        "_lazy_init": nothing(),
        "init": nothing(),
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_is_compiled": lambda: True,
        "device_count": lambda: devices,
        "current_device": lambda: current[0],
        "set_device": choose,
        "device": Chosen,
        "Event": Event,
        "synchronize": wait,
        "empty_cache": nothing(),
        "reset_peak_memory_stats": nothing(),
        "max_memory_allocated": lambda _device=None: 1,
        "memory_allocated": lambda _device=None: 1,
        "mem_get_info": lambda _device=None: (1 << 34, 1 << 34),
        "get_device_name": lambda device=None: f"{NAME} {index_of(current[0] if device is None else device)}",
        "get_device_properties": lambda _device=None: properties,
        "get_device_capability": lambda _device=None: (9, 0),
        "get_rng_state": lambda _device="cuda": torch.get_rng_state(),
        "set_rng_state": nothing(),
        "manual_seed": nothing(),
        "manual_seed_all": nothing(),
        "is_current_stream_capturing": lambda: False,
        "is_bf16_supported": lambda *_args, **_kwargs: True,
    }
