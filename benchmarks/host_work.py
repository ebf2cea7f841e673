"""Processor time of what surrounds the model, per 1,000 images, and the bytes that are hashed.

    python -m benchmarks.host_work [IMAGES_AT_32] [IMAGES_AT_224]

One cell with a model of one weight: scored clean, crafted by PGD-2, scored again, the test set hashed for the card.
The parts that the harness is known to pay for are timed inside, by this process's own processor time.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from robench import Classifier, Examples, Task, ThreatModel
from robench.evidence import image_signatures
from robench.evidence.store import Store
from robench.pipeline.stages import craft as craft_stage
from robench.pipeline.stages import score as score_stage
from robench.runtime.inference import freeze
from robench_builtins.attacks.pgd import PGD

from .interleave import report

#: What is timed: the place where a function is looked up, its name, and what it is called here.
PARTS: tuple[tuple[Any, str, str], ...] = (
    (Task, "uniform", "noise image by image"),
    (craft_stage, "digest", "digest of a chunk"),
    (craft_stage, "inspect", "projection and counts"),
    (image_signatures, "image_hashes", "hash of each image"),
    (image_signatures, "thumbnails", "thumbnails"),
    (Store, "put", "writing to the store"),
)


class Level(nn.Module):
    """Answer by how bright an image is."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.flatten(1).mean(1) * self.weight
        return torch.stack([mean, -mean], 1)


@contextmanager
def timed(seconds: Counter[str]) -> Iterator[None]:
    """Add the processor time of each part to ``seconds``."""

    def of(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            begun = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                seconds[name] += time.process_time() - begun  # type: ignore[assignment]  # a Counter of seconds

        return call

    with ExitStack() as stack:
        for place, attribute, name in PARTS:
            if hasattr(place, attribute):
                stack.enter_context(mock.patch.object(place, attribute, of(getattr(place, attribute), name)))
        yield


@contextmanager
def hashed(counts: Counter[str]) -> Iterator[None]:
    """Add the bytes that go through SHA-256 and BLAKE2b to ``counts``."""
    real = {name: getattr(hashlib, name) for name in ("sha256", "blake2b")}

    class Counted:
        def __init__(self, name: str, content: Any, **more: Any) -> None:
            self._name, self._hash = name, real[name](**more)
            self.update(content)

        def update(self, content: Any) -> None:
            counts[self._name] += memoryview(content).nbytes
            self._hash.update(content)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._hash, name)

    def of(name: str) -> Callable[..., Any]:
        return lambda content=b"", **more: Counted(name, content, **more)

    def of_file(file: Any, name: Any) -> Any:
        found = Counted("sha256", b"")
        while block := file.read(2**20):
            found.update(block)
        return found

    with ExitStack() as stack:
        for name in real:
            stack.enter_context(mock.patch.object(hashlib, name, of(name)))
        stack.enter_context(mock.patch.object(hashlib, "file_digest", of_file))
        yield


def cell(n: int, side: int, folder: Path) -> None:
    """Score, craft and score one cell of ``n`` random images."""
    images = torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    test = Examples.from_tensors(images, torch.arange(n) % 2)
    model = freeze(Classifier(Level(), classes=2), "cpu")
    threat = ThreatModel("Linf", 8 / 255)
    task = Task(classes=("a", "b"), shape=(3, side, side), threat_model=threat, batch_size=128 if side < 65 else 64)
    store = Store(folder)
    assert test.fingerprint
    signed = image_signatures.KnownSignatures(n)
    score_stage.score(model, test.batches(task.batch_size), test.labels, task, store, "clean", "score", of=signed)
    found = craft_stage.craft(PGD(steps=2), model, test, None, task, store, "set")
    batches = found.batches(task.batch_size, "cpu")
    score_stage.score(model, batches, test.labels, task, store, "robust", "score", of=found.fingerprint)


def floor(n: int, side: int) -> float:
    """Return the seconds of the model's own passes in such a cell."""
    images = torch.rand(64, 3, side, side)
    model = freeze(Classifier(Level(), classes=2), "cpu")
    begun = time.process_time()
    for _ in range(n // 64):
        for _ in range(2):
            moved = images.clone().requires_grad_(True)
            torch.autograd.grad(model(moved).sum(), moved)
        for _ in range(3):
            with torch.no_grad():
                model(images)
    return time.process_time() - begun


def main(sizes: dict[int, int]) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    columns: dict[int, dict[str, float]] = {}
    for side, n in sizes.items():
        seconds: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as folder:
            cell(64, side, Path(folder) / "warm")
            begun = time.process_time()
            with timed(seconds):
                cell(n, side, Path(folder) / "store")
            whole = time.process_time() - begun
            bytes_hashed: Counter[str] = Counter()
            with hashed(bytes_hashed):
                cell(n, side, Path(folder) / "again")
        rows = {name: 1e6 * spent / n for name, spent in seconds.items()}
        rows |= {"the model's passes": 1e6 * floor(n, side) / n, "all": 1e6 * whole / n}
        rows |= {f"{name}, bytes an image's bytes": count / (n * 12 * side**2) for name, count in bytes_hashed.items()}
        columns[side] = rows
    names = dict.fromkeys(name for rows in columns.values() for name in rows)
    report(
        "processor time per 1,000 images, ms, and bytes hashed per byte of the float32 images",
        [("", *(f"{side} px" for side in columns))]
        + [(name, *(f"{columns[side].get(name, 0):.1f}" for side in columns)) for name in names],
    )


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(dict(zip((32, 224), given or (2048, 256), strict=False)))
