"""From cards to boards to ranked rows: what is compared with what, and what may be ranked at all."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from robench.contracts.threat_model import radius_of
from robench.evidence.card import Card
from robench.evidence.plain_text import plain
from robench.evidence.row_verdict import judge_together
from robench_leaderboard.ranking.duplicate_defenses import with_duplicates
from robench_leaderboard.ranking.evidence_rule import EVERYTHING, EvidenceRule
from robench_leaderboard.ranking.fewer_attacks import fewer_attacks_below
from robench_leaderboard.ranking.gain_over_undefended import with_gains
from robench_leaderboard.ranking.pareto_front import with_front
from robench_leaderboard.ranking.read_cards import newest
from robench_leaderboard.ranking.repeated_seeds import Repeated, repeated_rows
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.ranking.short_names import with_short_names
from robench_leaderboard.statistics.significance import shared_ranks

Item = TypeVar("Item")
Key = TypeVar("Key")


@dataclass(frozen=True, order=True)
class Setting:
    """Say what rows must have in common to be compared: the images, and what the attacker may do to them.

    Images are known by their content: wherever they lie and whatever they are called, they are one board.
    """

    dataset: str = field(compare=False)
    shape: tuple[int, int, int]
    norm: str
    eps: float
    n: int
    test: str
    #: The protocol that its cards follow, with what was changed of it; empty if they follow none.
    protocol: str = ""

    @classmethod
    def of(cls, card: Card) -> Setting:
        """Return the setting of one card, under the name that the card has for the images."""
        dataset, threat = card.cell.dataset, card.cell.threat
        protocol = plain(card.cell.protocol, 200)
        return cls(dataset.label, card.data.shape, threat.norm, threat.eps, card.cell.n, card.data.test, protocol)

    @property
    def contest(self) -> str:
        """Return all but the dataset in one phrase, such as ``Linf 8/255, 3x32x32, n = 1,000``."""
        size = "x".join(map(str, self.shape))
        protocol = f", protocol {self.protocol}" if self.protocol else ""
        return f"{self.norm} {radius_of(self.eps, self.norm)}, {size}, n = {self.n:,}{protocol}"


@dataclass(frozen=True, eq=False)
class Board:
    """Be one ranking."""

    setting: Setting
    ranked: tuple[Row, ...]
    unranked: tuple[Row, ...]
    repeated: tuple[Repeated, ...] = ()
    rule: EvidenceRule = EVERYTHING
    shared: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """Return all rows, ranked first."""
        return self.ranked + self.unranked

    @cached_property
    def victims(self) -> list[str]:
        """Return the labels of the victims."""
        return sorted({row.victim for row in self.rows})

    @cached_property
    def energy(self) -> bool:
        """Say whether energy was measured for any row."""
        return any(row.fit_joules is not None or row.craft_joules is not None for row in self.rows)

    @cached_property
    def has_transfer(self) -> bool:
        """Say whether any row was attacked through a surrogate."""
        return any(row.transfer for row in self.rows)

    @cached_property
    def has_top5(self) -> bool:
        """Say whether the rows have top-5 accuracies: with fewer than six classes there are none."""
        return any(row.clean_top5 is not None for row in self.rows)

    @cached_property
    def has_certified(self) -> bool:
        """Say whether anything is proved of any row."""
        return any(row.certificates for row in self.rows)

    @property
    def broken(self) -> list[str]:
        """Return what images that were made elsewhere did to the rows."""
        return [sentence for row in self.rows for sentence in row.broken]

    @property
    def weak(self) -> list[str]:
        """Return what weak attacks leave of the rows, and what robust means where nobody attacks."""
        coarse = filter(None, (row.coarse for row in self.rows))
        return [*self.corruptions, *(sentence for row in self.rows for sentence in row.weak), *coarse]

    @property
    def corruptions(self) -> list[str]:
        """Return what the figures are a mean of, on a board of common corruptions."""
        if all(row.attacked for row in self.rows):
            return []
        counts = "; ".join(f"{row.title}: {len(row.cards)}" for row in self.rows[:20])
        return [
            f"Robust is here the mean accuracy over a row's common corruptions of severity {self.setting.eps:g}, of "
            f"which there are ({counts}); an image counts as right in comparisons if it is under more than half of "
            "them. Nobody attacks, and nothing is said of attackers."
        ]

    @property
    def uneven(self) -> bool:
        """Say whether some ranked row met fewer attacks than others."""
        return any(row.missing for row in self.ranked)


def boards(cards: Iterable[Card], rule: EvidenceRule = EVERYTHING) -> list[Board]:
    """Return one board per setting, in a fixed order whatever the order of the cards.

    Args:
        cards: of any settings.
        rule: what is attested of them, and which rows may rank for it.
    """
    grouped = _grouped(judge_together(newest(cards)), Setting.of)
    # The same images may have several names; a plain one says more than that of somebody's folder.
    named = [replace(setting, dataset=min(map(_name, same))[-1]) for setting, same in grouped.items()]
    return [_board(setting, grouped[setting], rule) for setting in sorted(named, key=lambda each: (each.dataset, each))]


def same_boards(cards: Iterable[Card], some: Iterable[Card]) -> list[Card]:
    """Return those of ``cards`` that are on a board with one of ``some``."""
    settings = {Setting.of(card) for card in some}
    return [card for card in cards if Setting.of(card) in settings]


def _name(card: Card) -> tuple[int, str]:
    return len(card.cell.dataset.changed), card.cell.dataset.label


def _board(setting: Setting, cards: Sequence[Card], rule: EvidenceRule) -> Board:
    rows = [_row(tuple(group), rule) for _, group in sorted(_grouped(cards, _row_key).items())]
    rows, shared = with_short_names(sorted(_with_titles(rows), key=_best_first))
    rows = with_gains(with_duplicates(rows))
    ranked = [row for row in rows if not row.reasons]
    ranked = fewer_attacks_below(_with_missing(ranked))
    ranks = shared_ranks([row.mask for row in ranked if row.mask is not None])
    ranked = [replace(row, rank=rank) for row, rank in zip(ranked, ranks, strict=True)]
    unranked = tuple(row for row in rows if row.reasons)
    return Board(setting, tuple(with_front(ranked)), unranked, repeated_rows(ranked), rule, shared)


def _row(cards: tuple[Card, ...], rule: EvidenceRule) -> Row:
    evidence = rule.of(cards)
    return Row(cards, evidence=evidence, unchecked=rule.refusal(evidence))


def _row_key(card: Card) -> tuple[str, str, int, int, int, str, str, tuple[str, ...]]:
    """Return what makes cards one row. Outcomes of two different sets of weights are never one worst case.

    Neither are those of a model that reads its classes under two sets of names.
    """
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
        tuple(card.data.classes),
    )


def _best_first(row: Row) -> tuple[float, float, str, str]:
    robust = row.headline.correct if row.headline else -1
    return -robust, -row.clean.correct, row.title, row.victim


def _with_titles(rows: Sequence[Row]) -> list[Row]:
    """Name each row by its defense, adding the seed or the weights where that is what differs."""
    several = len({row.seed for row in rows}) > 1
    named = [replace(row, suffix=_elsewhere(row) + (f", seed {row.seed}" if several else "")) for row in rows]
    times = Counter((row.victim, row.title) for row in named)
    named = [
        row if times[row.victim, row.title] == 1 else replace(row, suffix=f"{row.suffix} {_weights(row)}")
        for row in named
    ]
    times = Counter((row.victim, row.title) for row in named)
    return [
        row if times[row.victim, row.title] == 1 else replace(row, suffix=f"{row.suffix} {_classes(row)}")
        for row in named
    ]


def _elsewhere(row: Row) -> str:
    """Return on what the row was trained, where that is another dataset than the board's."""
    return f", trained on {plain(row.trained_on, 80)}" if row.trained_on else ""


def _weights(row: Row) -> str:
    card = row.cards[0]
    return f"(v{card.cell.defense.version}, weights {card.model.defended[:8]}, victim {card.model.victim[:8]})"


def _classes(row: Row) -> str:
    """Say under which names the classes were read, where rows differ in nothing else."""
    names = json.dumps(row.cards[0].data.classes).encode()
    return f"(classes of {row.cards[0].cell.dataset.label}, {hashlib.sha256(names).hexdigest()[:8]})"


def _with_missing(rows: Sequence[Row]) -> list[Row]:
    """Note, per row, the attacks that only others met: a worst case over fewer attacks flatters."""
    every = {
        (attack.description, attack.surrogate) for row in rows for attack in row.sound if not attack.made_elsewhere
    }
    return [replace(row, missing=_missing(row, every)) for row in rows]


def _missing(row: Row, every: set[tuple[str, str]]) -> tuple[str, ...]:
    met = {attack.description for attack in row.attacks}
    # Transfer from the undefended victim to itself is its white-box attack.
    return tuple(sorted(what for what, via in every if what not in met and not (row.undefended and via == "self")))


def _grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    groups: dict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups
