"""Rows: what one defended victim reached under every attack it met."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from robench.budget import Access
from robench.evidence.card import Card, Check, Cost, Outcome, Verdict
from robench.evidence.statistics import wilson

Item = TypeVar("Item")
Key = TypeVar("Key")

#: Best first, so that the last of several is the worst.
VERDICTS: tuple[Verdict, ...] = ("VALID", "SUSPECT", "INVALID")
_VERDICT_OF_STATUS: Mapping[str, Verdict] = {"suspect": "SUSPECT", "invalid": "INVALID"}
_ACCESS_ORDER: tuple[Access, ...] = ("white-box", "black-box", "transfer")

NO_WHITE_BOX = (
    "It has no white-box card, so it has no robust accuracy: transfer and black-box results alone are "
    "never called that. Run it against a white-box attack."
)


@dataclass(frozen=True)
class Score:
    """Count what was classified correctly."""

    correct: int
    n: int

    @property
    def rate(self) -> float:
        """Return the accuracy in [0, 1]."""
        return self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Return its Wilson 95 % interval."""
        return wilson(self.correct, self.n)


@dataclass(frozen=True, eq=False)
class Attacked:
    """Hold one card's outcome under its attack."""

    card: Card

    @property
    def access(self) -> Access:
        """Return what the attacker could use."""
        return self.card.cell.threat.access

    @property
    def attack(self) -> str:
        """Return the attack's label."""
        return self.card.cell.attack.label

    @property
    def surrogate(self) -> str:
        """Return the label of the attacker's model; ``self`` is the undefended victim, empty is none."""
        cell = self.card.cell
        if cell.surrogate_is_victim:
            return "self"
        return cell.surrogate.label if cell.surrogate is not None else ""

    @property
    def what(self) -> str:
        """Name the attack in one phrase, such as ``pgd, transfer via resnet18``."""
        route = "" if self.access == "white-box" else f", {self.access}"
        return f"{self.attack}{route}{f' via {self.surrogate}' if self.surrogate else ''}"

    @property
    def score(self) -> Score:
        """Return the accuracy under this attack; it is robust accuracy only if the access is white-box."""
        return _score(self.card.robust)

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


@dataclass(frozen=True, eq=False)
class Row:
    """Gather the cards of one (victim, defense, seed) on one board."""

    cards: tuple[Card, ...]
    suffix: str = ""
    rank: int | None = None
    gain: float | None = None
    missing: tuple[str, ...] = ()
    coincides: str = ""

    @property
    def title(self) -> str:
        """Return the defense's label and what else tells this row from others of its board."""
        return self.defense + self.suffix

    @property
    def victim(self) -> str:
        """Return the victim's label."""
        return self.cards[0].cell.victim.label

    @property
    def defense(self) -> str:
        """Return the defense's label."""
        return self.cards[0].cell.defense.label

    @property
    def seed(self) -> int:
        """Return the seed."""
        return self.cards[0].cell.seed

    @property
    def undefended(self) -> bool:
        """Say whether this is the reference that defenses are compared with."""
        return self.cards[0].cell.undefended

    @cached_property
    def attacks(self) -> tuple[Attacked, ...]:
        """Return the outcome under each attack, white-box first."""
        return tuple(sorted(map(Attacked, self.cards), key=_attack_order))

    @property
    def white_box(self) -> tuple[Attacked, ...]:
        """Return the outcomes of attacks through the defended victim end to end."""
        return tuple(attacked for attacked in self.attacks if attacked.access == "white-box")

    @cached_property
    def transfer(self) -> dict[str, Score]:
        """Return, per surrogate, the lowest accuracy over attacks crafted on it; never robust accuracy."""
        lowest: dict[str, Score] = {}
        for attacked in self.attacks:
            if attacked.access == "transfer":
                lowest[attacked.surrogate] = min(
                    lowest.get(attacked.surrogate, attacked.score),
                    attacked.score,
                    key=lambda score: score.correct,
                )
        return dict(sorted(lowest.items()))

    @cached_property
    def clean(self) -> Score:
        """Return the clean accuracy; where the cards disagree, the lowest."""
        return min((_score(card.clean) for card in self.cards), key=lambda score: score.correct)

    @cached_property
    def mask(self) -> tuple[bool, ...] | None:
        """Return, per image, whether it withstood every attack; None without a white-box attack."""
        if not self.white_box:
            return None
        return tuple(all(flags) for flags in zip(*(card.robust.mask() for card in self.cards), strict=True))

    @property
    def headline(self) -> Score | None:
        """Return the robust accuracy: the per-image worst case over all attacks."""
        return None if self.mask is None else Score(sum(self.mask), len(self.mask))

    @cached_property
    def verdict(self) -> Verdict:
        """Return the worst verdict of the cards."""
        return worst(attacked.verdict for attacked in self.attacks)

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """Return the sentences that say why this row is not ranked; none if it may be."""
        found: dict[str, list[str]] = defaultdict(list)
        for attacked in self.attacks:
            for failure in attacked.failures:
                found[failure].append(attacked.what)
        sentences = [f"{failure}. Under: {'; '.join(attacks)}." for failure, attacks in found.items()]
        if self.mask is None:
            sentences.append(NO_WHITE_BOX)
        return (*sentences, self.coincides) if self.coincides else tuple(sentences)

    @property
    def trainable(self) -> int:
        """Return the number of trainable parameters."""
        return max(card.training.trainable for card in self.cards)

    @property
    def fit_seconds(self) -> float:
        """Return how long the defense took to fit; the cards share one fit, so the longest on record."""
        return max(card.cost.fit.seconds for card in self.cards)

    @property
    def craft_ms(self) -> float | None:
        """Return milliseconds per image to craft, summed over the white-box attacks."""
        return self._summed(lambda cost: cost.ms_per_image)

    @property
    def forwards(self) -> float | None:
        """Return forwards per image to craft, summed over the white-box attacks."""
        return self._summed(lambda cost: per_image(cost.forwards, cost))

    @property
    def backwards(self) -> float | None:
        """Return backwards per image to craft, summed over the white-box attacks."""
        return self._summed(lambda cost: per_image(cost.backwards, cost))

    @property
    def score_ms(self) -> float | None:
        """Return milliseconds per image to score, seconds and images summed over the white-box cards."""
        costs = [attacked.card.cost.score for attacked in self.white_box]
        images = sum(cost.images for cost in costs)
        return 1000 * sum(cost.seconds for cost in costs) / images if images else None

    @property
    def peak_bytes(self) -> int:
        """Return the largest peak memory over the stages of the cards."""
        return max(
            stage.peak_bytes
            for card in self.cards
            for stage in (card.cost.fit, card.cost.craft, card.cost.score, card.cost.gate)
        )

    def _summed(self, measure: Callable[[Cost], float]) -> float | None:
        return sum(measure(attacked.card.cost.craft) for attacked in self.white_box) if self.white_box else None


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of these verdicts; VALID if there are none."""
    return max(verdicts, key=VERDICTS.index, default="VALID")


def per_image(passes: int, cost: Cost) -> float:
    """Return passes per image, 0 if there was none."""
    return passes / cost.images if cost.images else 0.0


def _attack_order(attacked: Attacked) -> tuple[int, str, str, str]:
    return _ACCESS_ORDER.index(attacked.access), attacked.surrogate, attacked.attack, attacked.card.id


def _score(outcome: Outcome) -> Score:
    return Score(outcome.correct, outcome.n)


def _evidence(check: Check) -> str:
    measured = [] if check.value is None else [f"measured {check.value:.4g}"]
    images = [f"{check.n:,} images"] if check.n else []
    return ", ".join([*measured, f"required {check.threshold}", *images])
