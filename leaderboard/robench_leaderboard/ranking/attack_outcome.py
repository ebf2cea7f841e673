"""Outcomes: what was counted under one attack, and whether it may be believed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from robench.contracts.search_precision import searched_in
from robench.contracts.threat_model import Access, has_ball
from robench.evidence.card import Card, Check, Outcome, Verdict
from robench.evidence.plain_text import plain
from robench.evidence.statistics import wilson

#: Best first, so that the last of several is the worst.
VERDICTS: tuple[Verdict, ...] = ("VALID", "SUSPECT", "INVALID")
_VERDICT_OF_STATUS: Mapping[str, Verdict] = {"suspect": "SUSPECT", "invalid": "INVALID"}


@dataclass(frozen=True)
class Score:
    """Count what was classified correctly; no whole number where a randomized defense was right in some draws."""

    correct: int | float
    n: int

    @classmethod
    def of(cls, outcome: Outcome) -> Score:
        """Return the counts of a card's outcome: of a randomized defense the mean over its draws."""
        return cls(outcome.correct if outcome.hits is None else sum(outcome.hits) / outcome.draws, outcome.n)

    @classmethod
    def top5_of(cls, outcome: Outcome) -> Score | None:
        """Return how often the label is among the five highest logits; None for fewer than six classes."""
        return None if outcome.top5 is None else cls(outcome.top5, outcome.n)

    @property
    def rate(self) -> float:
        """Return the accuracy in [0, 1]."""
        return self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Return its Wilson 95 % interval."""
        return wilson(self.correct, self.n)


@dataclass(frozen=True, eq=False)
class AttackOutcome:
    """Hold one card's outcome under its attack."""

    card: Card

    @property
    def access(self) -> Access:
        """Return what the attacker could use."""
        return self.card.cell.threat.access

    @property
    def made_elsewhere(self) -> bool:
        """Say whether the images come from a file; nothing is known of the attack then, and no other row meets it."""
        return self.card.cell.made_elsewhere

    @property
    def weakness(self) -> str:
        """Return what is wrong with the attack, as published; empty if nothing is known to be."""
        return plain(self.card.cell.weakness, 200)

    @property
    def label(self) -> str:
        """Return the attack's label."""
        return self.card.cell.attack_label

    @property
    def name(self) -> str:
        """Return the attack's name, with the precision of its search where that is not float32."""
        return self.card.cell.attack.name + searched_in(self.card.cell.precision)

    @property
    def surrogate(self) -> str:
        """Return the label of the attacker's model; ``self`` is the undefended victim, empty is none."""
        cell = self.card.cell
        if cell.surrogate_is_victim:
            return "self"
        return cell.surrogate.label if cell.surrogate is not None else ""

    @property
    def description(self) -> str:
        """Name the attack in one phrase, such as ``pgd, transfer via resnet18``."""
        if self.made_elsewhere:
            by = plain(self.card.credit, 60)
            return f"{self.label}, made elsewhere{f' by {by}' if by else ''}"
        route = "" if self.access == "white-box" else f", {self.access}"
        return f"{self.label}{route}{f' via {self.surrogate}' if self.surrogate else ''}"

    @property
    def end_to_end(self) -> bool:
        """Say whether the defended victim itself was attacked: by its gradients, or by queries if it has none."""
        if self.weakness:
            return False
        if not has_ball(self.card.cell.threat.norm):
            return True
        if self.card.cell.threat.norm == "L0" and self.access == "black-box":
            return not self.made_elsewhere  # the strongest attacks known there ask for answers
        queried = self.access == "black-box" and self.card.training.gradient == "none" and not self.made_elsewhere
        return self.access == "white-box" or queried

    @property
    def score(self) -> Score:
        """Return the accuracy under this attack; it is robust accuracy only if the attack went end to end."""
        return Score.of(self.card.robust)

    @property
    def top5(self) -> Score | None:
        """Return the top-5 accuracy (R@5, where each image is a class) under this attack."""
        return Score.top5_of(self.card.robust)

    @property
    def verdict(self) -> Verdict:
        """Return the worse of the gate's verdict and of what its own checks say."""
        gate = self.card.gate
        return worst([gate.verdict, *(_VERDICT_OF_STATUS.get(check.status, "VALID") for check in gate.checks)])

    @property
    def failures(self) -> tuple[str, ...]:
        """Return one sentence for each check of the gate that failed."""
        found = tuple(
            f"check '{check.name}': {check.meaning.rstrip('. ')} ({_evidence(check)})"
            for check in self.card.gate.checks
            if check.status in _VERDICT_OF_STATUS
        )
        if self.verdict != "VALID" and not found:
            return (f"card {self.card.id[:8]} says {self.verdict} and lists no failed check",)
        return found


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of these verdicts; VALID if there are none."""
    return max(verdicts, key=VERDICTS.index, default="VALID")


def _evidence(check: Check) -> str:
    measured = [] if check.value is None else [f"measured {check.value:.4g}"]
    images = [f"{check.n:,} images"] if check.n else []
    return ", ".join([*measured, f"required {check.threshold}", *images])
