"""The other end of the bracket: which images bounds prove to stand, beside those that really do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from robench import ContractError
from robench.bounds.linear_bounds import Method, certified
from robench_exam.ground import Subject
from robench_exam.runner import ground_of


@dataclass(frozen=True)
class Bracket:
    """Hold what one bound proves on one subject.

    Attributes:
        robust: images of which the truth is that they stand.
        proved: those of them that the bound proves to stand.
        impossible: places of the images that it proves to stand and that can fall: the bound or the truth is wrong.
    """

    method: Method
    subject: str
    images: int
    robust: int
    proved: int
    impossible: tuple[int, ...]


def brackets(subjects: Sequence[Subject]) -> list[Bracket]:
    """Return what each bound proves on each subject that it is known for: a chain of linear layers and ReLUs."""
    return [found for subject in subjects if subject.threat.norm in ("Linf", "L2") for found in _of(subject)]


def _of(subject: Subject) -> Iterator[Bracket]:
    ground = ground_of(subject)
    for method in get_args(Method):
        try:
            stands = certified(ground.model, ground.images, ground.labels, subject.threat, method)
        except ContractError:  # no chain: a nearest neighbour, a ridge
            return
        impossible = tuple((stands & ground.vulnerable).nonzero().flatten().tolist())
        robust = int((~ground.vulnerable).sum())
        proved = int((stands & ~ground.vulnerable).sum())
        yield Bracket(method, subject.name, len(stands), robust, proved, impossible)
