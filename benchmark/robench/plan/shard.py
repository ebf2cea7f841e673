"""Which part of a grid is this process's: ``3/8``, or what the scheduler of a cluster says."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from robench.errors import SpecError
from robench.plan.request_values import shown, text

T = TypeVar("T")

#: What says which part of a job a process is: its number, the number of parts, and the number of the first.
#: Slurm's array and steps, Kubernetes' indexed job (which does not tell how many there are), torchrun.
SCHEDULERS = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    ("JOB_COMPLETION_INDEX", "", ""),
    ("RANK", "WORLD_SIZE", ""),
    ("SLURM_PROCID", "SLURM_NTASKS", ""),
)
_FORM = re.compile(r"(?:(?P<part>\d{1,6})/(?P<of>\d{1,6})|auto(?:/(?P<parts>\d{1,6}))?)")
_OUT = "write --shard 3/8 for the third of eight, or --shard auto where a scheduler numbers its tasks"


@dataclass(frozen=True)
class Shard:
    """Name one part of several: the ``part``-th, counted from 1, of ``of``."""

    part: int = 1
    of: int = 1

    def share(self, items: Sequence[T]) -> list[T]:
        """Return every ``of``-th item, so that the parts are alike where neighbours are."""
        return list(items[self.part - 1 :: self.of])

    def after(self, count: int) -> Shard:
        """Return the part of a list that goes on where ``count`` items were dealt out before."""
        return Shard((self.part - 1 - count) % self.of + 1, self.of)

    def __str__(self) -> str:
        return f"{self.part}/{self.of}"


def shard(value: Any, environment: Mapping[str, str] = os.environ) -> Shard:
    """Return the part that a request names: ``3/8``, ``auto`` or ``auto/8``; None is the whole.

    Raises:
        SpecError: it is no part, or ``auto`` is asked for and no scheduler says which part this is.
    """
    if value is None:
        return Shard()
    found = _FORM.fullmatch(text("shard", value).strip())
    if found is None:
        raise SpecError(f"--shard {shown(value)} names no part; {_OUT}.")
    if found["part"] is None:
        return _of_scheduler(found["parts"], environment)
    return _checked(int(found["part"]), int(found["of"]), f"--shard {value}")


def _of_scheduler(parts: str | None, environment: Mapping[str, str]) -> Shard:
    for number, count, first in SCHEDULERS:
        if not environment.get(number, "").isdigit():
            continue
        of = parts or environment.get(count, "")
        if not of.isdigit():
            raise SpecError(f"--shard auto: {number} does not tell how many parts there are; write --shard auto/8.")
        # An array may begin at any number; where parts are given and not counted, task 0 is the first.
        least = environment.get(first, "0")
        part = int(environment[number]) - (int(least) if least.isdigit() else 0) + 1
        return _checked(part, int(of), f"--shard auto: {number}={environment[number]}")
    names = ", ".join(number for number, _, _ in SCHEDULERS)
    raise SpecError(f"--shard auto: no scheduler says which part this is (none of {names} is set); {_OUT}.")


def _checked(part: int, of: int, named: str) -> Shard:
    if not 1 <= part <= of:
        raise SpecError(f"{named} is part {part} of {of}, and parts are numbered from 1 to {of}; {_OUT}.")
    return Shard(part, of)
