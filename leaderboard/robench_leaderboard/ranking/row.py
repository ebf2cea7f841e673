"""Rows: what one defended victim reached under every attack it met."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from robench.contracts.search_precision import EXACT
from robench.contracts.threat_model import Access, has_ball
from robench.evidence.attestation import REPORTED, Evidence
from robench.evidence.card import Card, CertificateRecord, Cost, Outcome, Verdict
from robench.evidence.row_cells import RowCell, lowered
from robench_leaderboard.ranking.attack_outcome import AttackOutcome, Score, worst
from robench_leaderboard.ranking.certified_share import certificates_of, certified_mask, score_of
from robench_leaderboard.statistics.paired_difference import Difference

_ACCESS_ORDER: tuple[Access, ...] = ("white-box", "black-box", "transfer")

NO_WHITE_BOX = (
    "It has no white-box card, so it has no robust accuracy: transfer and black-box results alone are "
    "never called that. Run it against a white-box attack."
)

WEAK_ONLY = "It met no sound white-box attack: {} Run it against one that is, such as --attack apgd."


@dataclass(frozen=True, eq=False)
class Row:
    """Gather the cards of one (victim, defense, seed) on one board."""

    cards: tuple[Card, ...]
    suffix: str = ""
    short_defense: str = ""
    short_victim: str = ""
    rank: int | None = None
    gained: Difference | None = None
    taxed: Difference | None = None
    front: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    duplicate: str = ""
    evidence: Evidence = REPORTED
    unchecked: str = ""

    @property
    def gain(self) -> float | None:
        """Return the robust accuracy above that of the same victim undefended, in points; None without one."""
        return None if self.gained is None else self.gained.points

    @property
    def tax(self) -> float | None:
        """Return the clean accuracy below that of the same victim undefended, in points; None without one."""
        return None if self.taxed is None else self.taxed.points

    @property
    def title(self) -> str:
        """Return the defense's label and what else tells this row from others of its board."""
        return self.defense + self.suffix

    @property
    def short(self) -> tuple[str, str]:
        """Return defense and victim as tables name them, without what all rows of the board share."""
        return self.short_defense or self.defense, self.short_victim or self.victim

    @property
    def victim(self) -> str:
        """Return the victim's label."""
        return self.cards[0].cell.victim.label

    @property
    def defense(self) -> str:
        """Return the defense's label."""
        return self.cards[0].cell.defense.label

    @property
    def trained_on(self) -> str:
        """Return the label of the dataset that it was trained on, where that is another one; empty if it is not."""
        record = self.cards[0].cell.trained_on
        return record.label if record is not None else ""

    @property
    def seed(self) -> int:
        """Return the seed."""
        return self.cards[0].cell.seed

    @property
    def undefended(self) -> bool:
        """Say whether this is the reference that defenses are compared with."""
        return self.cards[0].cell.undefended

    @property
    def attacked(self) -> bool:
        """Say whether there is an attacker; common corruptions have none."""
        return has_ball(self.cards[0].cell.threat.norm)

    @cached_property
    def attacks(self) -> tuple[AttackOutcome, ...]:
        """Return the outcome under each attack, white-box first."""
        return tuple(sorted(map(AttackOutcome, self.cards), key=_attack_order))

    @cached_property
    def white_box(self) -> tuple[AttackOutcome, ...]:
        """Return the outcomes of attacks through the defended victim end to end (by queries if it has no gradient)."""
        return tuple(attack for attack in self.attacks if attack.end_to_end)

    @cached_property
    def transfer(self) -> dict[str, Score]:
        """Return, per surrogate, the lowest accuracy over attacks crafted on it; never robust accuracy."""
        lowest: dict[str, Score] = {}
        for attack in self.attacks:
            if attack.access == "transfer":
                lowest[attack.surrogate] = min(
                    lowest.get(attack.surrogate, attack.score),
                    attack.score,
                    key=lambda score: score.correct,
                )
        return dict(sorted(lowest.items()))

    @cached_property
    def cleanest(self) -> Card:
        """Return the card whose clean outcome counts: where they disagree, the one with the lowest."""
        return min(self.cards, key=lambda card: (card.clean.correct, card.clean.bits, card.id))

    @property
    def clean(self) -> Score:
        """Return the clean accuracy."""
        return Score.of(self.cleanest.clean)

    @cached_property
    def clean_mask(self) -> tuple[bool, ...]:
        """Return, per image, whether it was right without an attack."""
        return tuple(self.cleanest.clean.mask())

    @cached_property
    def mask(self) -> tuple[bool, ...] | None:
        """Return, per image, whether it withstood every attack; None without a white-box attack.

        Under common corruptions: whether it is right under more than half of them.
        """
        if not self.white_box:
            return None
        if not self.attacked:
            masks = [card.robust.mask() for card in self.cards]
            return tuple(2 * sum(flags) > len(masks) for flags in zip(*masks, strict=True))
        return tuple(all(flags) for flags in zip(*(card.robust.mask() for card in self.cards), strict=True))

    def mask_under(self, attacks: Collection[str]) -> tuple[bool, ...] | None:
        """Return, per image, whether it withstood those of the row's attacks that are named; None if it met none."""
        masks = [attack.card.robust.mask() for attack in self.attacks if attack.description in attacks]
        return tuple(all(flags) for flags in zip(*masks, strict=True)) if masks else None

    @cached_property
    def headline(self) -> Score | None:
        """Return the robust accuracy: the per-image worst case over all attacks, of each the mean over draws.

        Under common corruptions, which nobody chooses for an image, it is the mean accuracy over those of the row.
        """
        return None if self.shares is None else Score(sum(self.shares), len(self.shares))

    @cached_property
    def certificates(self) -> tuple[CertificateRecord, ...]:
        """Return what is proved of the defended victim, the certificate of most images first."""
        return certificates_of(self.cards)

    @property
    def certified(self) -> Score | None:
        """Return the lower end of the bracket: images that any certificate says stand; never robust accuracy."""
        return score_of(certified_mask(self.certificates))

    @cached_property
    def shares(self) -> tuple[float, ...] | None:
        """Return, per image, the least share of draws in which it withstood an attack; 0 or 1 if none is drawn.

        Under common corruptions: the share of them under which it is right.
        """
        if self.mask is not None and not self.attacked:
            return tuple(map(fmean, zip(*(_shares(card.robust) for card in self.cards), strict=True)))
        if self.mask is None or all(card.robust.hits is None for card in self.cards):
            return self.mask
        return tuple(map(min, zip(*(_shares(card.robust) for card in self.cards), strict=True)))

    @cached_property
    def clean_shares(self) -> tuple[float, ...]:
        """Return, per image, the share of draws in which it was right without an attack."""
        return tuple(_shares(self.cleanest.clean))

    @property
    def sound(self) -> tuple[AttackOutcome, ...]:
        """Return the outcomes of the attacks of which nothing is known to be wrong."""
        return tuple(attack for attack in self.attacks if not attack.weakness)

    @cached_property
    def weak(self) -> tuple[str, ...]:
        """Return a sentence for each attack that is weak as published: what it leaves, and what others leave of it."""
        return tuple(self._hidden_by(attack) for attack in self.attacks if attack.weakness)

    @property
    def coarse(self) -> str:
        """Return a sentence where every white-box attack searched with fewer bits than float32; else nothing."""
        used = {attack.card.cell.precision for attack in self.white_box if not attack.made_elsewhere}
        if not used or EXACT in used or not self.attacked:
            return ""
        return (
            f"{self.title}: every white-box attack ran in {' or '.join(sorted(used))}, which can only weaken it; in "
            "float32 fewer images may stand."
        )

    def _hidden_by(self, attack: AttackOutcome) -> str:
        alone = f"{self.title}: {attack.description} leaves {100 * attack.score.rate:.1f} %; {attack.weakness}"
        if self.headline is None:
            return f"{alone}."
        return f"{alone}. With the other attacks {100 * self.headline.rate:.1f} % are left."

    @cached_property
    def broken(self) -> tuple[str, ...]:
        """Return a sentence for each set of images made elsewhere: how many fall of those that stood without it."""
        return tuple(self._broken_by(attack) for attack in self.attacks if attack.made_elsewhere)

    def _broken_by(self, images: AttackOutcome) -> str:
        others = [RowCell(attack.card) for attack in self.attacks if attack is not images]
        stood, fell = lowered(RowCell(images.card), others)
        return f"{self.title}: {fell} of {stood} images that stood under all else fall to {images.description}."

    @cached_property
    def verdict(self) -> Verdict:
        """Return the worst verdict of the cards."""
        return worst(attack.verdict for attack in self.sound or self.attacks)

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """Return the sentences that say why this row is not ranked; none if it may be."""
        found: dict[str, list[str]] = defaultdict(list)
        for attack in self.sound:
            for failure in attack.failures:
                found[failure].append(attack.description)
        sentences = [f"{failure}. Under: {'; '.join(attacks)}." for failure, attacks in found.items()]
        if self.mask is None:
            sentences.append(WEAK_ONLY.format(" ".join(self.weak)) if self.weak else NO_WHITE_BOX)
        return (*sentences, *filter(None, (self.duplicate, self.unchecked)))

    @property
    def clean_top5(self) -> Score | None:
        """Return the top-5 accuracy without an attack; None for fewer than six classes."""
        return Score.top5_of(self.cleanest.clean)

    @property
    def robust_top5(self) -> Score | None:
        """Return the lowest top-5 accuracy over the end-to-end attacks; cards do not say of which images.

        Under common corruptions: the mean over them.
        """
        found = [attack.top5 for attack in self.white_box if attack.top5 is not None]
        if found and not self.attacked:
            return Score(fmean(score.correct for score in found), found[0].n)
        return min(found, key=lambda score: score.rate, default=None)

    @property
    def trainable(self) -> int:
        """Return the number of trainable parameters."""
        return max(card.training.trainable for card in self.cards)

    @property
    def parameters(self) -> int | None:
        """Return the number of all parameters, frozen ones included; None if no card says it."""
        return max((card.model.parameters for card in self.cards if card.model.parameters is not None), default=None)

    @property
    def fit_seconds(self) -> float:
        """Return how long the defense took to fit; the cards share one fit, so the longest on record."""
        return max(card.cost.fit.seconds for card in self.cards)

    @property
    def fit_joules(self) -> float | None:
        """Return the energy of that fit where it was measured, else None."""
        return max((card.cost.fit.joules for card in self.cards if card.cost.fit.joules is not None), default=None)

    @property
    def craft_joules(self) -> float | None:
        """Return joules per image to craft, summed over the white-box attacks; None unless each was measured."""
        costs = [attack.card.cost.craft for attack in self.white_box]
        if not costs or any(cost.joules is None for cost in costs):
            return None
        return sum((cost.joules or 0.0) / cost.images for cost in costs if cost.images)

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """Return where its clocks ran, such as ``cpu (AMD EPYC), float32``; one entry if all cards agree."""
        return tuple(sorted({f"{card.environment.device}, {card.environment.dtype}" for card in self.cards}))

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
        costs = [attack.card.cost.score for attack in self.white_box]
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
        return sum(measure(attack.card.cost.craft) for attack in self.white_box) if self.white_box else None


def per_image(passes: int, cost: Cost) -> float:
    """Return passes per image, 0 if there was none."""
    return passes / cost.images if cost.images else 0.0


def _shares(outcome: Outcome) -> list[float]:
    """Return, per image, the share of draws in which it was right; whole numbers where nothing is drawn."""
    return [*outcome.mask()] if outcome.hits is None else [hit / outcome.draws for hit in outcome.hits]


def _attack_order(attack: AttackOutcome) -> tuple[int, str, str, str]:
    return _ACCESS_ORDER.index(attack.access), attack.surrogate, attack.label, attack.card.id
