"""Precision, recall and F1 averaged over the classes, from what a card says of each class.

The "accuracy" of a class, (TP + TN) / N, is no part of an average: with ten classes it is near 0.9 for a class that is
never found, since every image of the other nine counts for it. It is shown for each class, beside its recall
(``confusion_matrices.one_versus_rest``).
"""

from __future__ import annotations

from dataclasses import dataclass

from robench.evidence.card import Card, Outcome

Scores = tuple[float, float, float]


@dataclass(frozen=True)
class Averages:
    """Hold (precision, recall, F1) under each average.

    Attributes:
        macro: the mean over the classes that occur among the labels, each counting the same.
        weighted: the mean over classes, each counting by its images.
        micro: of all answers together. Every image has one label and one answer, so that all three are the accuracy.
    """

    macro: Scores
    weighted: Scores
    micro: Scores

    @property
    def balanced_accuracy(self) -> float:
        """Return the mean recall over the classes that occur, which is the macro average's."""
        return self.macro[1]

    @property
    def rows(self) -> tuple[tuple[str, Scores], ...]:
        """Return the averages with their names, in the order in which they are shown."""
        return ("macro", self.macro), ("weighted", self.weighted), ("micro", self.micro)


def averages(outcome: Outcome) -> Averages | None:
    """Return the averages of an outcome; None if its rows are not those of classes, or no class has an image."""
    rows = outcome.per_class
    if any(len(row) != 4 for row in rows):
        return None
    present = [row for row in rows if row[3] > 0]
    if not present:
        return None
    accuracy = _mean([row[1] for row in present], [row[3] for row in present])
    return Averages(
        macro=_scores(present, [1.0] * len(present)),
        weighted=_scores(present, [row[3] for row in present]),
        micro=(accuracy, accuracy, accuracy),
    )


def both(card: Card) -> tuple[Averages, Averages] | None:
    """Return the averages of a card's answers, clean and under attack; None if it lacks either."""
    clean, robust = averages(card.clean), averages(card.robust)
    return None if clean is None or robust is None else (clean, robust)


def _scores(rows: list[list[float]], weights: list[float]) -> Scores:
    precision, recall, f1 = (_mean([row[place] for row in rows], weights) for place in range(3))
    return precision, recall, f1


def _mean(values: list[float], weights: list[float]) -> float:
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)
