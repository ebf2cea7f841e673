"""Compare two cards, or the rows that two sets of cards have in common, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from robench.errors import CardError
from robench.evidence.card import Card
from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.attack_outcome import AttackOutcome, Score
from robench_leaderboard.ranking.board import Setting, boards
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.statistics.paired_difference import Difference
from robench_leaderboard.statistics.significance import holm

Mask = Sequence[bool]


@dataclass(frozen=True)
class Flips:
    """Hold one accuracy before and after, their paired difference (second minus first), and the images that flipped.

    Attributes:
        lost: places in the test set of the images that only the first got right, in order.
        won: of those that only the second got right.
    """

    first: Score
    second: Score
    difference: Difference
    lost: tuple[int, ...]
    won: tuple[int, ...]

    @classmethod
    def of(cls, first: Mask, second: Mask) -> Flips:
        """Compare two outcomes on the same images."""
        pairs = list(enumerate(zip(first, second, strict=True)))
        return cls(
            first=Score(sum(first), len(first)),
            second=Score(sum(second), len(second)),
            difference=Difference.of(second, first),
            lost=tuple(place for place, (before, after) in pairs if before and not after),
            won=tuple(place for place, (before, after) in pairs if after and not before),
        )


@dataclass(frozen=True)
class Top5:
    """Hold one top-5 accuracy before and after; cards do not say of which images, so that no image is paired."""

    first: Score
    second: Score

    @classmethod
    def of(cls, first: Score | None, second: Score | None) -> Top5 | None:
        """Return both; None where one of the two has none: fewer than six classes."""
        return None if first is None or second is None else cls(first, second)

    @property
    def points(self) -> float:
        """Return second minus first, in points."""
        return 100 * (self.second.rate - self.first.rate)


@dataclass(frozen=True)
class Pair:
    """Hold one comparison; ``robust`` is None where one of the two has no robust accuracy.

    Attributes:
        title: what was compared.
        differs: what is not the same on both sides, such as ``attack: pgd, fgsm``.
        measure: what ``robust`` counts: robust accuracy, or accuracy under one card's attack.
        sides: the cards of the first and of the second, whose kept pictures can be shown.
        clean_top5: top-5 accuracy without an attack.
        robust_top5: of two cards that under their attacks, of two rows the lowest over their end-to-end attacks.
        significant: whether McNemar's test on ``robust`` rejects at 5 %, Holm-corrected over all pairs.
    """

    title: str
    differs: tuple[str, ...]
    measure: str
    clean: Flips
    robust: Flips | None
    sides: tuple[tuple[Card, ...], tuple[Card, ...]]
    clean_top5: Top5 | None = None
    robust_top5: Top5 | None = None
    significant: bool = False
    #: The two files or folders, as they were named; empty where cards were given.
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Hold all pairs, and the titles of the rows that only one side has."""

    pairs: tuple[Pair, ...]
    only_first: tuple[str, ...] = ()
    only_second: tuple[str, ...] = ()


def compare_cards(first: Card, second: Card) -> Comparison:
    """Compare two cards on the same test images; CardError if their images differ."""
    if (first.data.test, first.data.shape) != (second.data.test, second.data.shape):
        raise CardError(
            f"The two cards are not of the same test images ({_images(first)}; {_images(second)}), so no image can be "
            "paired with itself; run both on one dataset, with the same n."
        )
    pair = Pair(
        title=f"{_name(first)} -> {_name(second)}",
        differs=_differences(first, second),
        measure=f"accuracy under attack ({_access(first, second)})",
        clean=Flips.of(first.clean.mask(), second.clean.mask()),
        robust=Flips.of(first.robust.mask(), second.robust.mask()),
        sides=((first,), (second,)),
        clean_top5=Top5.of(*(Score.top5_of(card.clean) for card in (first, second))),
        robust_top5=Top5.of(*(Score.top5_of(card.robust) for card in (first, second))),
    )
    return _judged([pair])


def compare_sets(first: Sequence[Card], second: Sequence[Card]) -> Comparison:
    """Compare the rows of two sets of cards that agree in images, threat model, victim, defense and seed.

    Raises:
        CardError: they have no such row in common, or one has no cards.
    """
    for place, cards in (("first", first), ("second", second)):
        if not cards:
            raise CardError(f"There are no cards in the {place} folder; name folders that robench run wrote (--out).")
    before, after = _rows(first), _rows(second)
    pairs = [_pair(before[key], after[key]) for key in before if key in after]
    if not pairs:
        raise CardError(
            "The two folders have no row in common: none agrees in test images, norm, eps, victim, defense and seed. "
            "To compare two defenses, name two card files."
        )
    only_first = tuple(_title(row) for key, row in before.items() if key not in after)
    only_second = tuple(_title(row) for key, row in after.items() if key not in before)
    found = _judged(pairs)
    return Comparison(found.pairs, only_first, only_second)


Key = tuple[Setting, str, str, int]


def _rows(cards: Sequence[Card]) -> dict[Key, Row]:
    """Return the rows by what identifies them on both sides; of several weights, the first row in rank order."""
    found: dict[Key, Row] = {}
    for board in boards(cards):
        for row in board.rows:
            found.setdefault((board.setting, row.victim, row.defense, row.seed), row)
    return found


def _pair(before: Row, after: Row) -> Pair:
    attacks = [", ".join(attack.description for attack in row.attacks) for row in (before, after)]
    weights = [row.cards[0].model.defended[:8] for row in (before, after)]
    verdicts = [str(row.verdict) for row in (before, after)]
    both = before.mask is not None and after.mask is not None
    return Pair(
        title=_title(before),
        differs=_unequal({"attacks": attacks, "weights": weights, "verdict": verdicts}),
        measure="robust accuracy",
        clean=Flips.of(before.clean_mask, after.clean_mask),
        robust=Flips.of(before.mask or (), after.mask or ()) if both else None,
        sides=(before.cards, after.cards),
        clean_top5=Top5.of(before.clean_top5, after.clean_top5),
        robust_top5=Top5.of(before.robust_top5, after.robust_top5),
    )


def joined(found: Mapping[tuple[str, str], Comparison]) -> Comparison:
    """Return several comparisons, each under the two places that it is of, as one.

    McNemar's test is corrected over all of their pairs; of several, what only one side has names the place.
    """
    pairs = [replace(pair, paths=paths) for paths, each in found.items() for pair in each.pairs]

    def lone(side: int) -> tuple[str, ...]:
        titles = ((each.only_first, each.only_second)[side] for each in found.values())
        places = (f" [{plain(paths[1], 200)}]" if len(found) > 1 else "" for paths in found)
        return tuple(f"{title}{place}" for some, place in zip(titles, places, strict=True) for title in some)

    return replace(_judged(pairs), only_first=lone(0), only_second=lone(1))


def _judged(pairs: Sequence[Pair]) -> Comparison:
    tested = [pair.robust.difference.p_value if pair.robust else 1.0 for pair in pairs]
    return Comparison(
        tuple(replace(pair, significant=significant) for pair, significant in zip(pairs, holm(tested), strict=True))
    )


def _differences(first: Card, second: Card) -> tuple[str, ...]:
    values = {}
    for role in ("victim", "defense", "attack"):
        values[role] = [getattr(card.cell, role).label for card in (first, second)]
    values["eps"] = [f"{card.cell.threat.norm} {card.cell.threat.counted}" for card in (first, second)]
    values["access"] = [_via(card) for card in (first, second)]
    values["seed"] = [str(card.cell.seed) for card in (first, second)]
    values["weights"] = [card.model.defended[:8] for card in (first, second)]
    values["verdict"] = [str(card.gate.verdict) for card in (first, second)]
    return _unequal(values)


def _unequal(values: dict[str, list[str]]) -> tuple[str, ...]:
    return tuple(f"{name}: {plain(one)}, {plain(two)}" for name, (one, two) in values.items() if one != two)


def _via(card: Card) -> str:
    attack = AttackOutcome(card)
    return f"{attack.access} via {attack.surrogate}" if attack.surrogate else attack.access


def _access(first: Card, second: Card) -> str:
    return " and ".join(dict.fromkeys((first.cell.threat.access, second.cell.threat.access)))


def _name(card: Card) -> str:
    cell = card.cell
    return plain(f"{cell.defense.label} on {cell.victim.label} under {cell.attack_label}", 160)


def _images(card: Card) -> str:
    return f"{plain(card.cell.dataset.label, 60)}, n = {card.cell.n}, {card.data.test[:8]}"


def _title(row: Row) -> str:
    threat = row.cards[0].cell.threat
    radius = f"{threat.norm} {threat.counted}"
    return plain(f"{row.title} on {row.victim}, {row.cards[0].cell.dataset.label}, n = {row.clean.n:,}, {radius}", 200)
