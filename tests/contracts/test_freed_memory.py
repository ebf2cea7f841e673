"""Freed memory goes back to the system while images are served."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from robench import Examples
from robench.contracts import freed_memory
from robench.contracts.freed_memory import AFTER, FreedMemory, give_back


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.fixture
def given_back(monkeypatch):
    """Return the list that notes how often memory was given back."""
    seen = []
    monkeypatch.setattr(freed_memory, "give_back", lambda: seen.append(True))
    return seen


def test_what_lies_between_blocks_in_use_goes_back():
    if not (Path("/proc/self/statm").is_file() and give_back()):
        pytest.skip("the C library of this system gives nothing back when asked")
    blocks = [torch.ones(16 * 1024) for _ in range(2000)]  # 64 KiB each: none is a mapping of its own
    blocks = blocks[::2]
    before = resident()
    assert give_back()
    assert before - resident() > 0.8 * 1000 * 64 * 1024
    assert all(bool((block == 1).all()) for block in blocks)


def test_it_goes_back_each_time_that_many_bytes_were_served(given_back):
    freed = FreedMemory()
    freed.served(AFTER - 1)
    assert not given_back
    freed.served(1)
    freed.served(AFTER - 1)
    assert len(given_back) == 1
    freed.served(AFTER)
    assert len(given_back) == 2


@pytest.mark.parametrize(("side", "n", "times"), [(32, 2000, 0), (224, 50, 0), (224, 112, 2)])
def test_few_or_small_images_cost_nothing(given_back, side, n, times):
    """Images are counted as float32 once they are done with: 112 at 224 x 224 are 64.3 MiB."""
    images = torch.zeros(1, 3, side, side, dtype=torch.uint8).expand(n, -1, -1, -1)
    served = Examples.from_tensors(images, torch.zeros(n, dtype=torch.long))
    assert sum(len(batch.images) for batch in served.batches(8)) == n
    assert len(given_back) == times


@pytest.mark.parametrize("missing", [OSError, AttributeError, TypeError])
def test_another_c_library_is_left_alone(monkeypatch, missing):
    def refuse(name):
        raise missing

    monkeypatch.setattr(freed_memory.ctypes, "CDLL", refuse)
    freed_memory._malloc_trim.cache_clear()
    try:
        assert give_back() is False
    finally:
        freed_memory._malloc_trim.cache_clear()
