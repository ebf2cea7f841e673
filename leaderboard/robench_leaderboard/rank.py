"""From cards to boards to ranked rows: what is compared with what, and what may be ranked at all."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from robench.budget import Access, format_eps
from robench.evidence.card import Card, Check, Cost, Outcome, Verdict
from robench.evidence.statistics import wilson
from robench_leaderboard.read import newest
from robench_leaderboard.ties import shared_ranks

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


@dataclass(frozen=True, order=True)
class Setting:
    """Say what rows must have in common to be compared: the images, and what the attacker may do to them."""

    dataset: str
    shape: tuple[int, int, int]
    norm: str
    eps: float
    n: int
    test: str
    parameters: str

    @classmethod
    def of(cls, card: Card) -> Setting:
        """Return the setting of one card."""
        dataset, threat = card.cell.dataset, card.cell.threat
        parameters = _canonical({"name": dataset.name, "parameters": dataset.parameters})
        return cls(dataset.label, card.data.shape, threat.norm, threat.eps, card.cell.n, card.data.test, parameters)

    @property
    def contest(self) -> str:
        """Return all but the dataset in one phrase, such as ``Linf 8/255, 3x32x32, n = 1,000``."""
        size = "x".join(map(str, self.shape))
        return f"{self.norm} {format_eps(self.eps)}, {size}, n = {self.n:,}"


@dataclass(frozen=True, eq=False)
class Board:
    """Be one ranking."""

    setting: Setting
    ranked: tuple[Row, ...]
    unranked: tuple[Row, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Return all rows, ranked first."""
        return self.ranked + self.unranked

    @property
    def has_transfer(self) -> bool:
        """Say whether any row was attacked through a surrogate."""
        return any(row.transfer for row in self.rows)

    @property
    def uneven(self) -> bool:
        """Say whether some ranked row met fewer attacks than others."""
        return any(row.missing for row in self.ranked)


def boards(cards: Iterable[Card]) -> list[Board]:
    """Return one board per setting, in a fixed order whatever the order of the cards."""
    grouped = _grouped(newest(cards), Setting.of)
    return [_board(setting, grouped[setting]) for setting in sorted(grouped)]


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of these verdicts; VALID if there are none."""
    return max(verdicts, key=VERDICTS.index, default="VALID")


def per_image(passes: int, cost: Cost) -> float:
    """Return passes per image, 0 if there was none."""
    return passes / cost.images if cost.images else 0.0


def _board(setting: Setting, cards: Sequence[Card]) -> Board:
    rows = [Row(tuple(group)) for _, group in sorted(_grouped(cards, _row_key).items())]
    rows = sorted(_with_titles(rows), key=_merit)
    rows = _with_gains(_with_coincidences(rows))
    ranked = [row for row in rows if not row.reasons]
    ranks = shared_ranks([row.mask for row in ranked if row.mask is not None])
    ranked = [replace(row, rank=rank) for row, rank in zip(_with_missing(ranked), ranks, strict=True)]
    return Board(setting, tuple(ranked), tuple(row for row in rows if row.reasons))


def _row_key(card: Card) -> tuple[str, str, int, int, int, str, str]:
    """Return what makes cards one row. Outcomes of two different sets of weights are never one worst case."""
    cell, model = card.cell, card.model
    defense, victim = cell.defense, cell.victim
    return (
        victim.label,
        defense.label,
        cell.seed,
        victim.version,
        defense.version,
        model.victim,
        model.defended,
    )


def _merit(row: Row) -> tuple[int, int, str, str]:
    robust = row.headline.correct if row.headline else -1
    return -robust, -row.clean.correct, row.title, row.victim


def _with_titles(rows: Sequence[Row]) -> list[Row]:
    """Name each row by its defense, adding the seed or the weights where that is what differs."""
    several = len({row.seed for row in rows}) > 1
    named = [replace(row, suffix=f", seed {row.seed}" if several else "") for row in rows]
    times = Counter((row.victim, row.title) for row in named)
    return [
        row if times[row.victim, row.title] == 1 else replace(row, suffix=f"{row.suffix} {_weights(row)}")
        for row in named
    ]


def _weights(row: Row) -> str:
    card = row.cards[0]
    return f"(v{card.cell.defense.version}, weights {card.model.defended[:8]}, victim {card.model.victim[:8]})"


def _with_gains(rows: Sequence[Row]) -> list[Row]:
    references = {_reference_key(row): row for row in reversed(rows) if row.undefended and not row.reasons}
    return [replace(row, gain=_gain(row, references.get(_reference_key(row)))) for row in rows]


def _reference_key(row: Row) -> tuple[str, int, str]:
    return row.victim, row.seed, row.cards[0].model.victim


def _gain(row: Row, reference: Row | None) -> float | None:
    """Return the difference in points; None unless both numbers stand."""
    if row.undefended or row.reasons or row.headline is None or reference is None or reference.headline is None:
        return None
    return 100 * (row.headline.correct - reference.headline.correct) / row.headline.n


def _with_missing(rows: Sequence[Row]) -> list[Row]:
    """Note, per row, the attacks that only others met: a worst case over fewer attacks flatters."""
    every = {(attacked.what, attacked.surrogate) for row in rows for attacked in row.attacks}
    return [replace(row, missing=_missing(row, every)) for row in rows]


def _missing(row: Row, every: set[tuple[str, str]]) -> tuple[str, ...]:
    met = {attacked.what for attacked in row.attacks}
    # Transfer from the undefended victim to itself is its white-box attack.
    return tuple(sorted(what for what, via in every if what not in met and not (row.undefended and via == "self")))


def _with_coincidences(rows: Sequence[Row]) -> list[Row]:
    """Mark rows whose defense is another one under a second name (invariant 8); the first by name stays."""
    standing = sorted((row for row in rows if not row.reasons), key=lambda row: _defense_name(row))
    twins = _grouped((row for row in standing if row.cards[0].training.names), _training_key)
    return [row if row.reasons else replace(row, coincides=_coincidence(row, twins)) for row in rows]


def _training_key(row: Row) -> tuple[str, str, int, tuple[str, ...]]:
    training = row.cards[0].training
    return row.victim, _canonical(training.recipe), training.trainable, tuple(sorted(training.names))


def _coincidence(row: Row, twins: Mapping[Any, Sequence[Row]]) -> str:
    for other in twins.get(_training_key(row), ()):
        if _defense_name(other) >= _defense_name(row):
            break
        if _same_data(row, other):
            return (
                f"It coincides with '{other.title}': the same recipe, the same {row.trainable:,} trainable "
                "parameters and the same data on the same victim, so the two are one defense and only "
                f"'{other.title}' is ranked. If they do differ, the recipe must say how."
            )
    return ""


def _same_data(row: Row, other: Row) -> bool:
    """Compare the training images; another seed draws others, and then only their number can be compared."""
    mine, yours = row.cards[0].data, other.cards[0].data
    return mine.train == yours.train if row.seed == other.seed else mine.train_n == yours.train_n


def _defense_name(row: Row) -> str:
    return row.cards[0].cell.defense.name


def _grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    groups: dict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


def _attack_order(attacked: Attacked) -> tuple[int, str, str, str]:
    return _ACCESS_ORDER.index(attacked.access), attacked.surrogate, attacked.attack, attacked.card.id


def _score(outcome: Outcome) -> Score:
    return Score(outcome.correct, outcome.n)


def _evidence(check: Check) -> str:
    measured = [] if check.value is None else [f"measured {check.value:.4g}"]
    images = [f"{check.n:,} images"] if check.n else []
    return ", ".join([*measured, f"required {check.threshold}", *images])


def _canonical(parameters: Mapping[str, Any]) -> str:
    return json.dumps(parameters, sort_keys=True)
