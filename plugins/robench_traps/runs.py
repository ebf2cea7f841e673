"""With which weights and kernels the table was run, and what earlier runs with others gave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robench import SpecError
from robench_traps.runner import Result

#: What a run came to: names of traps that were missed, of controls that were accused.
FAILED = ("escaped", "elsewhere", "accused")


@dataclass(frozen=True)
class Run:
    """Hold one run of the table in short.

    Attributes:
        weights: which of the sets of weights, 0 being the usual one.
        kernels: the processor's instructions that torch computed with, such as ``AVX2``.
        counts: traps caught, traps tried, honest controls accused, controls tried.
        failed: the evaluations that did not come out as they should.
    """

    weights: int
    kernels: str
    counts: tuple[int, int, int, int]
    failed: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """Return it as a sentence."""
        caught, traps, accused, controls = self.counts
        wrong = f" Not as it should be: {', '.join(self.failed)}." if self.failed else ""
        return (
            f"weights {self.weights}, {self.kernels} kernels: {caught} of {traps} traps caught, "
            f"{accused} of {controls} honest controls accused.{wrong}"
        )


def kernels() -> str:
    """Return the instructions that torch computes with; ATEN_CPU_CAPABILITY chooses older ones."""
    import torch

    return str(torch.backends.cpu.get_cpu_capability())


def run_of(results: Sequence[Result], weights: int) -> Run:
    """Return this run."""
    return _run(weights, kernels(), [(each.evaluation.name, each.trap, each.outcome) for each in results])


def read_run(file: Path) -> Run:
    """Return the run that ``robench traps --json`` wrote down in ``file``; SpecError if it holds none."""
    try:
        said: Any = json.loads(file.read_text(encoding="utf-8"))
        rows = [(str(row["name"]), row["kind"] == "trap", str(row["outcome"])) for row in said["results"]]
        return _run(int(said["weights"]), str(said["kernels"]), rows)
    except OSError as error:
        raise SpecError(f"--beside {file} cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SpecError(
            f"--beside {file} holds no run of the traps; write one with 'robench traps --weights 1 --json > FILE'."
        ) from error


def _run(weights: int, used: str, rows: Sequence[tuple[str, bool, str]]) -> Run:
    tried = [row for row in rows if row[2] != "skipped"]
    traps = [outcome for _, trap, outcome in tried if trap]
    controls = [outcome for _, trap, outcome in tried if not trap]
    counts = (traps.count("caught"), len(traps), controls.count("accused"), len(controls))
    return Run(weights, used, counts, tuple(name for name, _, outcome in tried if outcome in FAILED))
