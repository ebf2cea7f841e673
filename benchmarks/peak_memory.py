"""Craft and score N images in this process and print its memory as JSON: ``peak_memory.py N BATCH FOLDER``."""

from __future__ import annotations

import json
import re
import resource
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from robench import Classifier, Examples, Task, ThreatModel
from robench.evidence.store import Store
from robench.pipeline.stages.craft import craft
from robench.pipeline.stages.score import score
from robench.runtime.inference import freeze
from robench_builtins.attacks.pgd import PGD

SHAPE = (3, 32, 32)


def mebibytes(field):
    """Return a field of /proc/self/status (VmRSS: now, VmHWM: at its peak)."""
    return int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


@contextmanager
def highest():
    """Yield a list that holds afterwards how many bytes this process had at most, looked at every 20 ms.

    Stages reset the kernel's own mark.
    """
    found, done = [resident()], threading.Event()

    def watch():
        while not done.wait(0.02):
            found[0] = max(found[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


def resident():
    """Return how many bytes of memory this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def drawn(rows):
    """Return random uint8 images, drawn when they are asked for, as if decoded from files."""
    generator = torch.Generator().manual_seed(rows[0])
    return torch.randint(0, 256, (len(rows), *SHAPE), dtype=torch.uint8, generator=generator)


def main(n, batch_size, folder):
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    model = freeze(Classifier(network, 10), "cpu")
    test = Examples(torch.arange(n) % 10, SHAPE, drawn, lambda rows: b"")
    threat = ThreatModel("Linf", 8 / 255)
    task = Task(classes=tuple("abcdefghij"), shape=SHAPE, threat_model=threat, batch_size=batch_size)
    store = Store(Path(folder))
    before = mebibytes("VmRSS")
    found = craft(PGD(steps=2), model, test, None, task, store, "set")
    batches = found.batches(batch_size, "cpu")
    score(model, batches, test.labels, task, store, "outcomes", "score", of=found.fingerprint)
    peak = mebibytes("VmHWM")
    print(json.dumps({"before": before, "peak": peak, "above": peak - before}))  # noqa: T201 - its parent reads this


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
