"""``make bench-gpu``: all that only a GPU can show, in under 8 minutes on one card, with nothing to download.

    python -m benchmarks.bench_gpu [--device cuda:1] [--only speed,gate] [--out docs/speed.md]

Victims have random weights. A part that fails is named in the table, and the others run; one that would not fit into
the time is named too. The table goes into the place that docs/speed.md has for it, one a card.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from robench.evidence.provenance import hardware
from robench.pipeline.workbench import use_device

from .gpu_parts import NEEDED, PARTS, Row
from .gpu_victims import Sizes

#: Seconds within which the parts end; each takes what those after it leave of them (gpu_parts.NEEDED).
LIMIT = 440.0
PLACE = Path(__file__).parents[1] / "docs" / "speed.md"
BEGIN, END = "<!-- bench-gpu: begin -->", "<!-- bench-gpu: end -->"
EMPTY = "Empty: `make bench-gpu` has not run on a card yet."
REFUSAL = (
    "make bench-gpu measures what only a CUDA GPU can show, and torch sees none here: run it on a machine with one and "
    "a torch build with CUDA. What can be shown without one: make bench, and tests/pipeline/test_on_cuda.py."
)


def rows_of(device: str, sizes: Sizes, names: Sequence[str], limit: float = LIMIT) -> tuple[list[Row], list[str]]:
    """Return the rows of these parts, and the parts that failed.

    A part is begun if it fits into what is left, and goes on to no further row in the seconds of the parts after it.
    """
    rows: list[Row] = []
    failed: list[str] = []
    begun = time.monotonic()
    for place, name in enumerate(names):
        later = sum(NEEDED.get(other, 0.0) for other in names[place + 1 :])
        started = time.monotonic()
        if started - begun + NEEDED.get(name, 0.0) > limit:
            rows.append((name, "not reached in time", "--only gives it a run of its own"))
            continue
        try:
            for row in PARTS[name](device, sizes):
                rows.append(row)
                print("  ".join(row), flush=True)  # noqa: T201 - to watch it
                if time.monotonic() - begun > limit - later:
                    rows.append((name, "out of time after these rows", "--only gives it a run of its own"))
                    break
        except Exception as error:
            failed.append(name)
            said = " ".join(str(error).split()).replace("|", "/")[:200]
            rows.append((name, f"failed: {type(error).__name__}: {said}", ""))
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201 - likewise
    return rows, failed


def table(card: str, rows: Sequence[Row]) -> str:
    """Return the card's part of the page."""
    head = [f"### {card}", "", "| what | measured | how |", "|:--|:--|:--|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def put(page: Path, card: str, text: str) -> None:
    """Write the table into its place in the page, instead of what the same card had there."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    inside, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{page} has no place for the table, {BEGIN} ... {END}; add it.")
    kept = [part for part in inside.split("### ")[1:] if part.partition("\n")[0] != card]
    parts = [*("### " + part.strip() for part in kept), text]
    page.write_text(f"{before}{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}{after}", encoding="utf-8")


def main(words: Sequence[str], sizes: Sizes | None = None) -> int:
    """Measure, print and write the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="make bench-gpu")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=PLACE)
    given = parser.parse_args(words)
    names = given.only.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    if not torch.cuda.is_available():
        print(REFUSAL, file=sys.stderr)  # noqa: T201 - said to the user
        return 2
    device = use_device(given.device)
    card = hardware(device)
    rows, failed = rows_of(device, sizes or Sizes(), names)
    put(given.out, card, table(card, rows))
    print(f"Written to {given.out}.")  # noqa: T201 - likewise
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
