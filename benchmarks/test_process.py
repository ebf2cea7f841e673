"""What the command costs as a whole process, beside ``import torch``, which none of these may need.

    python -m pytest benchmarks/test_process.py -s --benchmark-disable-gc

That torch stays unimported is asserted in tests/cli/test_startup.py; here it is timed, and no time is asserted.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .interleave import interleave, ratios, report, timed_rows

ROUNDS = 5
ROBENCH = str(Path(sys.executable).with_name("robench"))


def call(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def run_words(tmp_path_factory):
    """Return a ``robench run`` that the store answers."""
    root = tmp_path_factory.mktemp("run")
    options = ("--offline", "--device", "cpu", "--n", "40", "-p", "attack.steps=2")
    words = (ROBENCH, "run", *options, "--store", str(root / "store"), "--out", str(root / "results"))
    call(*words)
    return words


def test_processes(benchmark, run_words):
    contestants = {
        "import torch": lambda: call(sys.executable, "-c", "import torch"),
        "python alone": lambda: call(sys.executable, "-c", "pass"),
        "robench --help": lambda: call(ROBENCH, "--help"),
        "robench list": lambda: call(ROBENCH, "list"),
        "cached run": lambda: call(*run_words),
    }
    seconds = benchmark.pedantic(interleave, (contestants, ROUNDS), rounds=1, iterations=1)
    table = ratios(seconds, "import torch")
    benchmark.extra_info.update(ratio_to_import_torch=table, seconds=seconds)
    report(
        f"whole process, median of {ROUNDS} rounds",
        [("", "to import torch", "seconds"), *timed_rows(seconds, table)],
    )
