"""How the peak memory of crafting and scoring grows with the number of images: it should not.

    python -m pytest benchmarks/test_memory.py -s --benchmark-disable-gc

Each size runs in a process of its own, whose peak (VmHWM) is read at the end. Images come as if from files: a dataset
held in memory adds its own uint8 bytes, 3 KiB an image.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from .interleave import report

ROUNDS = 3  # a round takes more than ten seconds, and memory hardly varies
SIZES = (500, 4000)
BATCH = 128


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_peak_memory(benchmark, tmp_path):
    def measure():
        found = {n: [] for n in SIZES}
        for number in range(ROUNDS):
            for n in SIZES:
                script = Path(__file__).with_name("peak_memory.py")
                words = (sys.executable, str(script), str(n), str(BATCH), str(tmp_path / f"{n}-{number}"))
                child = subprocess.run(words, check=True, capture_output=True, text=True)
                found[n].append(json.loads(child.stdout))
        return found

    found = benchmark.pedantic(measure, rounds=1, iterations=1)
    peaks = {
        n: {field: statistics.median(child[field] for child in children) for field in children[0]}
        for n, children in found.items()
    }
    few, many = (peaks[n] for n in SIZES)
    benchmark.extra_info.update(
        mebibytes={str(n): peak for n, peak in peaks.items()},
        ratio_of_peaks=many["peak"] / few["peak"],
        growth=many["above"] - few["above"],
    )
    report(
        f"peak memory of PGD-2 and scoring, batch {BATCH}, MiB, median of {ROUNDS} rounds; "
        f"ratio of peaks {many['peak'] / few['peak']:.3f}",
        [("images", "torch and model", "peak", "above them")]
        + [(n, *(f"{peak[field]:.0f}" for field in ("before", "peak", "above"))) for n, peak in peaks.items()],
    )
