"""RobustBench's models: which network each has, how its images are normalised, where its weights lie, what is stated.

``robustbench_zoo.csv`` holds one a line, as the package's definitions of CIFAR-10, CIFAR-100 and ImageNet models have
them (github.com/RobustBench/robustbench); accuracies in percent are those of its tables, AutoAttack's at 8/255 in Linf
(4/255 on ImageNet) and 0.5 in L2. Nothing here imports torch.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from robench import SpecError

TABLE = Path(__file__).with_name("robustbench_zoo.csv")

#: Mean and standard deviation by the name in the table; those of DeepMind's networks are ``cifar10`` and ``cifar100``.
STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "engstrom": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "augustin": (
        (0.4913997551666284, 0.48215855929893703, 0.4465309133731618),
        (0.24703225141799082, 0.24348516474564, 0.26158783926049628),
    ),
    "rony": ((0.491, 0.482, 0.447), (0.247, 0.243, 0.262)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "chen100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "wu100": (
        (0.5070751592371323, 0.48654887331495095, 0.4409178433670343),
        (0.2673342858792401, 0.2564384629170883, 0.27615047132568404),
    ),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True)
class Entry:
    """Hold one model of the zoo.

    Attributes:
        normalisation: a name in ``STATISTICS``; ``per-image``; ``stored`` with the weights; empty for none.
        drive: id of the file on Google Drive.
        clean: stated accuracy, in [0, 1]; None where the table has none.
        autoattack: the same under AutoAttack.
    """

    data: str
    threat: str
    name: str
    family: str
    arguments: tuple[str, ...]
    normalisation: str
    drive: str
    clean: float | None
    autoattack: float | None

    @property
    def path(self) -> str:
        """Return where RobustBench keeps the file, below its folder of models."""
        return f"{self.data}/{self.threat}/{self.name}.pt"

    @property
    def page(self) -> str:
        """Return where a browser finds the file."""
        return f"https://drive.google.com/file/d/{self.drive}/view"

    @property
    def url(self) -> str:
        """Return where it is downloaded from."""
        return f"https://drive.usercontent.google.com/download?id={self.drive}&export=download&confirm=t"


@cache
def entries() -> dict[tuple[str, str, str], Entry]:
    """Return the zoo by data, threat model and name."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        found = [_entry(line) for line in csv.DictReader(file)]
    return {(entry.data, entry.threat, entry.name): entry for entry in found}


def find(data: str, threat: str, name: str) -> Entry:
    """Return an entry; SpecError, with what was meant, for what the zoo, or this table of it, has not."""
    entry = entries().get((data, threat, name))
    if entry is not None:
        return entry
    elsewhere = [f"robustbench:{a}/{b}/{c}" for a, b, c in entries() if c == name]
    if elsewhere:
        raise SpecError(
            f"RobustBench's {name} is not among its {data}/{threat} models; write {' or '.join(elsewhere)}."
        )
    from difflib import get_close_matches

    known = [c for a, b, c in entries() if (a, b) == (data, threat)]
    near = get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(known))}."
    raise SpecError(f"RobustBench has no {data}/{threat} model '{name[:80]}' of a network that is known here; {hint}")


def _entry(line: dict[str, str]) -> Entry:
    clean, autoattack = (float(line[name]) / 100 if line[name] else None for name in ("clean", "autoattack"))
    return Entry(
        line["data"],
        line["threat"],
        line["name"],
        line["family"],
        tuple(line["arguments"].split()),
        line["normalisation"],
        line["drive"],
        clean,
        autoattack,
    )
