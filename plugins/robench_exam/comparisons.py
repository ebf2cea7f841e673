"""What the exam says of the gate's limits: images that one attack wins and another left, on plain and masked models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from robench.evidence.check_rules import LOST
from robench.evidence.statistics import wilson
from robench_exam.ground import Group
from robench_exam.runner import Score


class Comparison(NamedTuple):
    """Name a check of the gate, an attack whose number is judged, and the attacks that the check tries beside it."""

    check: str
    judged: str
    tried: tuple[str, ...]


#: By the names under which :mod:`robench_exam.candidates` lists them; the gate's own APGD takes 40 steps.
COMPARISONS = (
    Comparison("one step <= many steps", "pgd", ("fgsm",)),
    Comparison("more steps", "pgd", ("pgd[steps=40]",)),
    Comparison("stronger attack", "pgd", ("apgd", "apgd[loss=margin]")),
    Comparison("stronger attack", "apgd[loss=margin]", ("apgd[loss=dlr-targeted]",)),
    Comparison("queries <= gradients", "pgd", ("square[queries=150]",)),
    Comparison("queries <= gradients", "apgd[loss=margin]", ("square[queries=150]",)),
    Comparison("noise <= gradients", "pgd", ("noise[draws=100]",)),
)


class Share(NamedTuple):
    """Hold how many images of how many were won."""

    won: int
    images: int

    @property
    def text(self) -> str:
        """Return counts, share and the Wilson 95 % interval."""
        low, high = wilson(self.won, self.images)
        return f"{self.won} of {self.images}: {self.won / self.images:.1%} ({low:.1%} to {high:.1%})"


class Finding(NamedTuple):
    """Hold what a comparison found; None where its attacks were not examined on such models."""

    comparison: Comparison
    limits: tuple[float, float]
    shares: dict[Group, Share | None]

    @property
    def text(self) -> str:
        """Return what limit the exam would set: above all that is won on plain models, below what is on masked ones."""
        plain, masked = self.shares["plain"], self.shares["masked"]
        if plain is None or masked is None:
            return "-"
        over = wilson(plain.won, plain.images)[1]
        least = wilson(masked.won, masked.images)[0]
        suspect = self.limits[0]
        if over >= least:
            return "does not tell masked models from plain ones"
        held = "lies there" if over <= suspect <= least else "is lower" if suspect < over else "is higher"
        return f"between {over:.1%} and {least:.1%}; today's {held}"


def findings(scores: Sequence[Score]) -> list[Finding]:
    """Return what each comparison found."""
    by = {(score.attack, score.subject): score for score in scores if score.tried}
    return [
        Finding(entry, LOST[entry.check][0], {group: _share(entry, group, by) for group in ("plain", "masked")})
        for entry in COMPARISONS
    ]


def _share(entry: Comparison, group: Group, by: dict[tuple[str, str], Score]) -> Share | None:
    won = images = 0
    for (attack, subject), judged in by.items():
        tried = [by[name, subject] for name in entry.tried if (name, subject) in by]
        if attack == entry.judged and judged.group == group and len(tried) == len(entry.tried):
            won += len({place for score in tried for place in score.fell} - {*judged.fell})
            images += judged.images
    return Share(won, images) if images else None
