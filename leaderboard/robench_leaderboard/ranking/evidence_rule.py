"""How far the cards of a row were checked by somebody, and which rows may rank for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from robench.evidence.attestation import LEVELS, REPORTED, Evidence, Level, read_attestations, vouched
from robench.evidence.card import Card

#: What a page says of its rule.
RULES: Mapping[Level, str] = {
    "reported": "Rows of every level of evidence are ranked, reported ones too",
    "checked": "Only rows are ranked of which somebody checked the stored evidence of every card, or computed it again",
    "rerun": "Only rows are ranked of which somebody computed every card again",
}


@dataclass(frozen=True)
class EvidenceRule:
    """Hold what is attested of cards, by card id, and the least level that may rank."""

    attested: Mapping[str, Evidence] = field(default_factory=dict)
    require: Level = "reported"

    @property
    def words(self) -> str:
        """Return the rule as a page states it."""
        return f"{RULES[self.require]} (--require {self.require})"

    def of(self, cards: Sequence[Card]) -> Evidence:
        """Return the evidence of a row: that of its least checked card, and everyone who contradicts one."""
        found = [self.attested.get(card.id, REPORTED) for card in cards]
        least = min(found, key=lambda one: (LEVELS.index(one.level), one.others), default=REPORTED)
        return Evidence(least.level, least.others, max((one.against for one in found), default=0))

    def refusal(self, evidence: Evidence) -> str:
        """Return why a row of this evidence may not rank; empty if it may."""
        if evidence.meets(self.require):
            return ""
        return f"Its evidence is: {evidence.words}. {RULES[self.require]} (robench verify CARD --rerun attests it)."


#: Every row may rank, and nothing is attested.
EVERYTHING = EvidenceRule()


def rule_of(
    cards: Sequence[Card],
    places: Iterable[Path],
    require: Level = "reported",
    warn: Callable[[str], None] = lambda text: None,
) -> EvidenceRule:
    """Return the rule over what is attested beside the cards in these files and folders."""
    return EvidenceRule(vouched(cards, read_attestations(places, warn)), require)
