"""Processor time of what surrounds the model, per 1,000 images, over a floor of plain torch, and the bytes hashed.

    python -m benchmarks.host_work [IMAGES_AT_32] [IMAGES_AT_224]

One cell with a model of one weight: scored clean, crafted by PGD-2, scored again, the test set hashed for the card.
The parts that the harness is known to pay for are timed inside, by this process's own processor time, in several
rounds of which the median counts. The floor does by hand what cannot be left out: the same passes and steps, noise
drawn in one go, one SHA-256 of the images, and their bytes written once and read once, as they are.
"""

from __future__ import annotations

import hashlib
import os
import resource
import statistics
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
from robench.evidence.artifact_folder import Artifact
from robench.evidence.store import Store
from robench.pipeline.stages import craft as craft_stage
from robench.pipeline.stages import score as score_stage
from robench.runtime.inference import freeze
from robench.runtime.large_pages import prefer_large_pages
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
    (Artifact, "tensors", "reading from the store"),
)
#: Rounds of each side.
ROUNDS = 5


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


def random_images(n: int, side: int) -> torch.Tensor:
    """Return ``n`` images of noise, uint8."""
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def batch_size(side: int) -> int:
    """Return how many images are taken at a time."""
    return 128 if side < 65 else 64


def cell(images: torch.Tensor, folder: Path) -> None:
    """Score, craft and score one cell of these images."""
    n, side = len(images), images.shape[-1]
    test = Examples.from_tensors(images, torch.arange(n) % 2)
    model = freeze(Classifier(Level(), classes=2), "cpu")
    threat = ThreatModel("Linf", 8 / 255)
    task = Task(classes=("a", "b"), shape=(3, side, side), threat_model=threat, batch_size=batch_size(side))
    store = Store(folder)
    assert test.fingerprint
    signed = image_signatures.KnownSignatures(n)
    score_stage.score(model, test.batches(task.batch_size), test.labels, task, store, "clean", "score", of=signed)
    found = craft_stage.craft(PGD(steps=2), model, test, None, task, store, "set")
    batches = found.batches(task.batch_size, "cpu")
    score_stage.score(model, batches, test.labels, task, store, "robust", "score", of=found.fingerprint)


def floor(images: torch.Tensor, folder: Path) -> Counter[str]:
    """Return the seconds of what such a cell cannot do without, done by hand, by part."""
    model = freeze(Classifier(Level(), classes=2), "cpu")
    eps, alpha, loss = 8 / 255, 0.75 * 8 / 255, torch.nn.functional.cross_entropy
    labels, made = torch.arange(len(images)) % 2, []
    seconds: Counter[str] = Counter()

    def of(name: str, work: Callable[[], Any]) -> Any:
        begun = time.process_time()
        done = work()
        seconds[name] += time.process_time() - begun  # type: ignore[assignment]  # a Counter of seconds
        return done

    def answer(batch: torch.Tensor) -> None:
        with torch.no_grad():
            model(batch)

    def steps(clean: torch.Tensor, right: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            moved.requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss(model(moved), right, reduction="sum"), moved)
            moved = moved.detach().add_(gradient.sign_(), alpha=alpha)
            moved = moved.sub_(clean).clamp_(-eps, eps).add_(clean).clamp_(0, 1)
        return moved

    size = batch_size(images.shape[-1])
    for part, right in zip(images.split(size), labels.split(size), strict=True):
        clean = of("bytes to floats", lambda part=part: part.to(torch.float32).div_(255))
        of("forwards", lambda clean=clean: answer(clean))
        start = of("noise", lambda clean=clean: torch.empty_like(clean).uniform_(-eps, eps).add_(clean).clamp_(0, 1))
        made.append(of("PGD-2", lambda clean=clean, right=right, start=start: steps(clean, right, start)))
    for moved in made:
        of("forwards", lambda moved=moved: answer(moved))
        of("SHA-256", lambda moved=moved: hashlib.sha256(moved.numpy().data).digest())
    with (folder / "plain").open("wb") as file:
        for moved in made:
            of("writing", lambda moved=moved: file.write(moved.numpy().data))
        of("writing", lambda: (file.flush(), os.fsync(file.fileno())))
    with (folder / "plain").open("rb") as file:
        for moved in made:
            of("reading", lambda moved=moved: file.readinto(moved.numpy().data))
    return seconds


def measured(images: torch.Tensor) -> dict[str, float]:
    """Return milliseconds per 1,000 images by part, of the median round, and the bytes hashed per byte."""
    rounds: list[dict[str, float]] = []
    for number in range(ROUNDS + 1):
        with tempfile.TemporaryDirectory() as folder:
            seconds: Counter[str] = Counter()
            before = resource.getrusage(resource.RUSAGE_SELF)
            with timed(seconds):
                cell(images, Path(folder))
            after = resource.getrusage(resource.RUSAGE_SELF)
            by_hand = floor(images, Path(folder))
        system, user = after.ru_stime - before.ru_stime, after.ru_utime - before.ru_utime
        seconds |= {f"floor: {name}": spent for name, spent in by_hand.items()}
        sums = {"all": user + system, "of it in the system": system, "floor": sum(by_hand.values())}
        if number:  # the first is a warm-up
            rounds.append({**seconds, **sums})
    found = {name: 1e6 * statistics.median(each[name] for each in rounds) / len(images) for name in rounds[0]}
    found["all, over the floor"] = statistics.median(each["all"] / each["floor"] for each in rounds)
    with tempfile.TemporaryDirectory() as folder:
        counts: Counter[str] = Counter()
        with hashed(counts):
            cell(images, Path(folder))
    size = 4 * images.numel()
    return found | {f"{name}, bytes an image's bytes": count / size for name, count in counts.items()}


def main(sizes: dict[int, int]) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    prefer_large_pages()
    columns = {side: measured(random_images(n, side)) for side, n in sizes.items()}
    names = dict.fromkeys(name for rows in columns.values() for name in rows)
    report(
        "processor time per 1,000 images, ms, and bytes hashed per byte of the float32 images",
        [("", *(f"{side} px" for side in columns))]
        + [(name, *(f"{columns[side].get(name, 0):.1f}" for side in columns)) for name in names],
    )


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(dict(zip((32, 224), given or (2048, 256), strict=False)))
