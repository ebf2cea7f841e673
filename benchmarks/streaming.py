"""Does a large test set stream? Peak memory and disk of whole runs of few and of many images, by what is kept.

    python -m benchmarks.streaming [SIDE] [FEW] [MANY] [KEPT,KEPT]

Images are drawn when they are asked for, as if decoded from files; the model has one weight, so that nothing but the
harness is measured. Each run is a process of its own; its memory is looked at every 20 ms, since stages reset the
kernel's own mark.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

import robench
from robench import Classifier, Dataset, Examples, Model
from robench.plugin.catalog import Catalog, Offer
from robench.plugin.discovery import Plugin
from robench_builtins.attacks.fgsm import FGSM
from robench_builtins.defenses.none import Undefended

from .host_work import Level
from .interleave import report
from .peak_memory import highest, resident

SIDE, MOST = 16, 50_000


class Drawn(Dataset):
    """Serve images of drawn brightness, one seed an image."""

    name = "drawn"
    side = SIDE

    def classes(self):
        return ("bright", "dark")

    def load(self, split):
        def fetch(rows):
            generator = torch.Generator().manual_seed(rows[0])
            # Half of them lie within 16 grey levels of the border between the classes.
            levels = [130 + row // 2 % 32 if row % 2 else 125 - row // 2 % 32 for row in rows]
            base = torch.tensor(levels).view(-1, 1, 1, 1)
            noise = torch.randint(0, 100, (len(rows), 3, self.side, self.side), generator=generator)
            return (base + noise - 50).clamp(0, 255).to(torch.uint8)

        return Examples(1 - torch.arange(MOST) % 2, (3, self.side, self.side), fetch, lambda rows: b"drawn")


class Brightness(Model):
    """Tell bright from dark."""

    name = "brightness"

    def load(self, task):
        level = Level()

        class Centred(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.level = level

            def forward(self, images):
                return 20 * self.level(images - 0.5)

        return Classifier(Centred(), classes=2)


def one_run(n, side, keep):
    """Run one cell in this process; print its peak memory, its disk and its seconds as JSON."""
    Drawn.side = side
    plugin = Plugin("benchmarks", "benchmarks", "0", None)
    parts = (("dataset", Drawn), ("victim", Brightness), ("defense", Undefended), ("attack", FGSM))
    known = Catalog([plugin], {(role, kind.name): Offer(role, kind.name, kind, plugin) for role, kind in parts})
    request = {"dataset": "drawn", "victim": "brightness", "defense": "none", "attack": "fgsm", "eps": "16/255"}
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        robench.run(**request, n=64, gate="quick", store=Path(folder) / "warm", device="cpu", known=known)
        before, begun = resident(), time.perf_counter()
        with highest() as peak:
            (card,) = robench.run(
                **request, n=n, gate="quick", store=store, device="cpu", known=known, keep_images=keep, progress=False
            )
        spent = time.perf_counter() - begun
        disk = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    found = {"above": (peak[0] - before) / 2**20, "disk": disk / 2**20, "seconds": spent}
    print(json.dumps({**found, "flipped": card.clean.rate - card.robust.rate}))  # noqa: T201 - its parent reads this


def main(side=SIDE, few=5_000, many=MOST, kept="all,flipped,digests"):
    rows, side, few, many = [], int(side), int(few), int(many)
    for keep in kept.split(","):
        for n in (few, many):
            words = [sys.executable, "-m", "benchmarks.streaming", "--one", str(n), str(side), keep]
            child = subprocess.run(words, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
            found = json.loads(child.stdout.splitlines()[-1])
            rows.append((keep, f"{n:,}", *(f"{found[name]:.1f}" for name in ("above", "disk", "seconds"))))
            rows[-1] += (f"{found['flipped']:.1%}",)
    report(
        f"one cell at {side} px: MiB above what it takes for 64 images, MiB on disk, seconds, images that fell",
        [("kept", "images", "memory", "disk", "seconds", "fell"), *rows],
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one_run(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    else:
        main(*sys.argv[1:])
