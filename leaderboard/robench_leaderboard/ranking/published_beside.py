"""A published figure beside what a card measured: the same figure, and whether the one lies in the other's interval."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from robench.contracts.threat_model import radius_of
from robench.evidence.card import Card
from robench.evidence.plain_text import plain
from robench.evidence.statistics import wilson
from robench.evidence.training_card import reached
from robench.plan.published_figures import FIGURES
from robench.plan.published_ledger import Contradiction, contradictions, ledger
from robench.plan.published_rows import Pairing, beside
from robench_leaderboard.ranking.attack_outcome import Score
from robench_leaderboard.statistics.class_averages import averages

COLUMNS = ("row", "figure", "published %", "measured %", "published is", "verdict", "source")
#: The figures were measured by others on other images, weights and seeds.
LEGEND = (
    "Published beside measured: 'inside' means within the measured 95 % interval, otherwise by how many points it lies "
    "above or below the nearer end. The interval covers the images only; training accuracy, precision, recall and F1 "
    "have none here."
)

Line = tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """Hold what was measured: a share in [0, 1], and its interval if it has one."""

    rate: float
    interval: tuple[float, float] | None = None


def lines(pairings: Sequence[Pairing]) -> list[Line]:
    """Return a line for each published figure and each card that measured the same."""
    return list(dict.fromkeys(line for pairing in pairings for line in _lines(pairing)))


def _lines(pairing: Pairing) -> Iterator[Line]:
    entry, figure = pairing.published, pairing.figure
    name, stated, source = entry.title(figure), percent(entry.figures[figure]), plain(entry.reference, 80)
    if not pairing.cards:
        labels = [stated.label for stated in entry.which.values() if stated.label]
        what = plain(entry.name, 80) or ", ".join(plain(label, 60) for label in labels)
        why = f"not run: {plain(pairing.instead, 200)}" if pairing.instead else "not run"
        yield what, name, stated, "-", why, "-", source
    for card in pairing.cards:
        found = measured(pairing, card)
        shown = "-" if found is None else interval(found)
        where = "not defined" if found is None else position(entry.figures[figure], found)
        yield _title(pairing, card), name, stated, shown, where, card.gate.verdict, source


def beside_cards(cards: Iterable[Card]) -> list[Pairing]:
    """Return the ledger's figures that one of these cards is beside."""
    return beside(ledger(), list(cards))


def notes(pairings: Iterable[Pairing]) -> list[str]:
    """Return what is known of the entries, and where the name of one has several numbers; each once."""
    entries = list({id(pairing.published): pairing.published for pairing in pairings}.values())
    found = [entry.note for entry in entries if entry.note]
    named = {(entry.name, entry.dataset, figure) for entry in entries for figure in entry.figures}
    found += [sentence(each) for each in contradictions(ledger()) if (each.name, each.dataset, each.figure) in named]
    return list(dict.fromkeys(found))


def sentence(each: Contradiction) -> str:
    """Return a contradiction in a line: one name, its numbers and who states them."""
    threat = "" if each.eps is None else f" at {each.norm} {radius_of(each.eps, each.norm)}"
    numbers = [
        f"{percent(number)} ({entry.reference}{', quoted by others' if entry.second_hand else ''})"
        for number, entry in each.numbers
    ]
    what = f"{each.name}, {each.dataset}, {FIGURES[each.figure]}{threat}"
    return f"One name, several numbers: {what}: {', '.join(numbers)}."


def _title(pairing: Pairing, card: Card) -> str:
    """Name the row: each component as the entry names it, since its other parameters are those of its file."""
    cell, which = card.cell, pairing.published.which
    seed = f", seed {cell.seed}" if cell.seed else ""
    roles = ("victim", "defense", "attack") if pairing.figure.startswith("robust") else ("victim", "defense")
    names = [which[role].label if role in which else getattr(cell, role).label for role in roles]
    radius = f" at {cell.threat.counted}" if len(roles) == 3 else ""
    return plain(f"{' / '.join(names)}{radius}{seed}")


def measured(pairing: Pairing, card: Card) -> Measured | None:
    """Return what a card measured; None where it is not defined, such as top-5 of fewer than six classes."""
    kind, _, score = pairing.figure.partition("_")
    if kind == "train":
        training = card.model.training
        found = None if training is None else reached(training.history, card.cell.victim.parameters).accuracy
        return None if found is None else Measured(found)
    outcome = card.clean if kind == "clean" else card.robust
    if not score:
        return Measured(outcome.rate, (outcome.low, outcome.high))
    if score == "top5":
        top5 = Score.top5_of(outcome)
        return None if top5 is None else Measured(top5.rate, wilson(top5.correct, top5.n))
    over = averages(outcome)
    if over is None:
        return None
    scores = over.macro if pairing.published.average == "macro" else over.weighted
    return Measured(scores[("precision", "recall", "f1").index(score)])


def percent(stated: float) -> str:
    """Return a published figure as it stands, with two decimals at least."""
    return f"{stated:.2f}" if abs(stated - round(stated, 2)) < 1e-9 else f"{stated:.6g}"


def interval(found: Measured) -> str:
    """Return a measured figure in percent, with its interval if it has one."""
    rate = f"{100 * found.rate:.2f}"
    return rate if found.interval is None else f"{rate} [{100 * found.interval[0]:.1f}, {100 * found.interval[1]:.1f}]"


def position(stated: float, found: Measured) -> str:
    """Return where a published figure lies: inside the interval, or by how many points above or below it."""
    low, high = (100 * end for end in found.interval or (found.rate, found.rate))
    if stated > high:
        return f"{stated - high:.1f} above"
    return f"{low - stated:.1f} below" if stated < low else "inside"
