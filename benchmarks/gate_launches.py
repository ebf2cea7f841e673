"""Kernels that a run would start on a GPU, by stage, counted on the pretended one.

    python -m benchmarks.gate_launches [IMAGES ...]

PGD-10 on tiny-clip, digits, no defense, ``--gate standard``, batches of 1,024 as on a GPU. The attack's kernels grow
with the number of batches, the gate's hardly with the number of images: its probes take at most 64 to 256 of them.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import robench
from robench.pipeline import flow
from robench.testing import pretended_cuda

from .interleave import report

STAGES = {"score": "score", "craft": "craft", "probe_model": "gate, victim", "probe_attack": "gate, attack"}
BATCH = 1024


def counted(n):
    """Return the kernels and the waits by stage of a run of ``n`` digits."""
    kernels, waits = Counter(), Counter()
    with pretended_cuda() as counts, ExitStack() as stack, tempfile.TemporaryDirectory() as folder:

        def of(stage, work):
            def call(*given, **named):
                before = sum(counts.launches.values()), sum(counts.waits.values())
                try:
                    return work(*given, **named)
                finally:
                    kernels[stage] += sum(counts.launches.values()) - before[0]
                    waits[stage] += sum(counts.waits.values()) - before[1]

            return call

        for name, stage in STAGES.items():
            stack.enter_context(mock.patch.object(flow, name, of(stage, getattr(flow, name))))
        robench.run(
            dataset="digits",
            victim="tiny-clip",
            defense="none",
            attack="pgd[steps=10]",
            n=n,
            gate="standard",
            batch_size=BATCH,
            device="cuda",
            store=Path(folder),
        )
    return kernels, waits


def main(sizes=(64, 256)):
    rows = []
    for n in sizes:
        kernels, waits = counted(n)
        gate = kernels["gate, victim"] + kernels["gate, attack"]
        # Ten batches of 1,024 where there is one here; the gate as it is at this n.
        ratios = f"{gate / kernels['craft']:.1f}", f"{gate / (kernels['craft'] * -(-10_000 // BATCH)):.2f}"
        rows.append((n, *(f"{kernels[stage]:,} / {waits[stage]:,}" for stage in STAGES.values()), *ratios))
    report("kernels / waits", [("images", *STAGES.values(), "gate per craft", "at 10,000 images"), *rows])


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or (64, 256))
