"""Check that a card's tables tell one story: what is counted twice must be counted alike."""

from __future__ import annotations

from collections.abc import Iterator

from robench.errors import CardError
from robench.evidence.card import Card, Outcome

#: Precision, recall and F1 are written with six digits; n of them, summed, may be off by n halves of the last.
_DIGITS = 1e-6


def check_tables(card: Card, where: str) -> None:
    """Raise CardError naming ``where`` if a table contradicts the counts beside it."""
    if card.data.test_n != card.cell.n:
        _refuse(where, f"{card.cell.n} images were answered, but the data names {card.data.test_n}.")
    if card.adversarial.attacked > card.cell.n:
        _refuse(where, f"{card.adversarial.attacked} images were attacked, of {card.cell.n}.")
    for name, outcome in (("clean", card.clean), ("robust", card.robust)):
        for problem in _problems(outcome, len(card.data.classes)):
            _refuse(where, f"{name}: {problem}")


def _problems(outcome: Outcome, classes: int) -> Iterator[str]:
    # Of a randomized defense, tables and top five are those of the mean logits, and the count is of majority votes.
    voted = outcome.draws > 1
    if outcome.top5 is not None and not (0 if voted else outcome.correct) <= outcome.top5 <= outcome.n:
        yield f"{outcome.top5} labels are among the top five, but {outcome.correct} of {outcome.n} are the first."
    if len(outcome.per_class) != classes or any(len(row) != 4 for row in outcome.per_class):
        yield f"per_class must have four numbers for each of the {classes} classes."
        return
    if not all(0 <= value <= 1 for row in outcome.per_class for value in row[:3]):
        yield "precision, recall and F1 are shares, but one lies outside [0, 1]."
    support = [row[3] for row in outcome.per_class]
    if sum(support) != outcome.n or min(support, default=0) < 0:
        yield f"the images of the classes sum to {sum(support):g}, not to {outcome.n}."
        return
    recalled = sum(row[1] * row[3] for row in outcome.per_class)
    right = _answered(outcome, recalled)
    if abs(recalled - right) > _DIGITS * outcome.n + _DIGITS:
        yield f"the recalls of the classes make {recalled:.1f} right answers, not {right:g}."
    present = [row[2] for row in outcome.per_class if row[3] > 0]
    if abs(sum(present) / len(present) - outcome.macro_f1) > 2 * _DIGITS:
        yield "macro_f1 is not the mean F1 of the classes that occur."
    if outcome.confusion is not None:
        yield from _of_confusion(outcome, outcome.confusion, support)


def _answered(outcome: Outcome, recalled: float) -> float:
    """Return the right answers that the tables must show."""
    if outcome.draws == 1:
        return outcome.correct
    rows = enumerate(outcome.confusion or [])
    return recalled if outcome.confusion is None else sum(row[place] for place, row in rows if place < len(row))


def _of_confusion(outcome: Outcome, confusion: list[list[int]], support: list[float]) -> Iterator[str]:
    if len(confusion) != len(support) or any(len(row) != len(support) for row in confusion):
        yield f"the confusion matrix is not {len(support)} x {len(support)}."
        return
    if min(min(row) for row in confusion) < 0:
        yield "the confusion matrix has a negative count."
    if [sum(row) for row in confusion] != support:
        yield "the rows of the confusion matrix are not the images of the classes."
    right = sum(row[place] for place, row in enumerate(confusion))
    if right != outcome.correct and outcome.draws == 1:
        yield f"the confusion matrix has {right} right answers, not {outcome.correct}."


def _refuse(where: str, problem: str) -> None:
    raise CardError(f"{where} contradicts itself: {problem}")
