"""The generators of the process, which libraries draw from: seeded for a while, and given back as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def seeded_globally(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and random inside, and give them back as they were.

    For what draws from them and cannot be given another; draw your own from ``Task.uniform`` or ``Task.generator``.
    """
    import numpy as np
    import torch

    state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_available() else []):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)
