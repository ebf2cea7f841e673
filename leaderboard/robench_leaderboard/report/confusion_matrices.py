"""What is taken for what, clean and under attack, and precision, recall and F1 of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robench.evidence.card import Card, Outcome
from robench_leaderboard.report.pictures import address

#: More classes than this are a picture and a list, since nobody reads 10,000 numbers.
MOST_CELLS = 20
#: Classes listed with their precision and recall: those that lose the most.
MOST_CLASSES = 30
#: Pixels a side of one cell of a confusion picture.
CELL = 3

Four = tuple[float, float, float, float]


@dataclass(frozen=True)
class Confusion:
    """Be one matrix, rows labels and columns predictions: its counts, or its picture, and its largest errors."""

    counts: Sequence[Sequence[int]]
    picture: str
    mistakes: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class ClassScore:
    """Hold (precision, recall, F1, one-versus-rest accuracy) of one class, clean and under attack.

    The accuracy is None where the card has no confusion matrix to count it from.
    """

    name: str
    images: int
    clean: tuple[float, float, float, float | None]
    robust: tuple[float, float, float, float | None]


def confusion(card: Card, outcome: Outcome) -> Confusion | None:
    """Return the outcome's matrix; None if the card has none that fits its classes."""
    counts, names = outcome.confusion, card.data.classes
    if counts is None or len(counts) != len(names) or any(len(row) != len(names) for row in counts):
        return None
    errors = sorted(
        (
            (-count, label, answer)
            for label, row in enumerate(counts)
            for answer, count in enumerate(row)
            if label != answer and count > 0
        )
    )
    mistakes = tuple((names[label], names[answer], -count) for count, label, answer in errors[:5])
    return Confusion(counts, _picture(counts) if len(names) > MOST_CELLS else "", mistakes)


def share(counts: Sequence[int], count: int) -> float:
    """Return the part of a row that one cell holds."""
    return round(count / sum(counts), 3) if sum(counts) else 0.0


def one_versus_rest(outcome: Outcome) -> list[float] | None:
    """Return (TP + TN) / N of each class: the share of images on which "is it this class?" is answered rightly.

    With ten classes it is near 0.9 for a class that is never found, since every image of the other nine counts for it:
    it stands beside the recall, and never for it. None if the outcome has no confusion matrix.
    """
    counts = outcome.confusion
    if counts is None or not counts or any(len(row) != len(counts) for row in counts):
        return None
    answered = [sum(column) for column in zip(*counts, strict=True)]
    total = max(sum(answered), 1)
    # N less the images that are of the class or were taken for it, without those that are both, which count as right.
    return [(total - sum(row) - answered[place] + 2 * row[place]) / total for place, row in enumerate(counts)]


def class_scores(card: Card) -> list[ClassScore]:
    """Return the classes whose recall falls the most, in the order of the labels."""
    rows = list(zip(card.data.classes, _scores(card.clean), _scores(card.robust), strict=False))
    whole = [(name, clean, robust) for name, clean, robust in rows if clean is not None and robust is not None]
    worst = sorted(range(len(whole)), key=lambda place: whole[place][2][0][1] - whole[place][1][0][1])[:MOST_CLASSES]
    return [
        ClassScore(name, int(clean[0][3]), (*clean[0][:3], clean[1]), (*robust[0][:3], robust[1]))
        for name, clean, robust in (whole[place] for place in sorted(worst))
    ]


def _scores(outcome: Outcome) -> list[tuple[Four, float | None] | None]:
    """Return (precision, recall, F1, images) and the one-versus-rest accuracy of each class; None for an odd row."""
    rest = one_versus_rest(outcome)
    found: list[tuple[Four, float | None] | None] = []
    for place, row in enumerate(outcome.per_class):
        accuracy = rest[place] if rest is not None and place < len(rest) else None
        found.append(((row[0], row[1], row[2], row[3]), accuracy) if len(row) == 4 else None)
    return found


def _picture(counts: Sequence[Sequence[int]]) -> str:
    import numpy as np

    matrix = np.asarray(counts, dtype=float)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    # Right answers in blue, wrong ones in red, on white: the square root lets rare mistakes be seen.
    depth = np.sqrt(shares)[..., None]
    ink = np.where(np.eye(len(matrix), dtype=bool)[..., None], (33, 102, 172), (178, 24, 43))
    pixels = np.rint(255 + depth * (ink - 255)).astype(np.uint8)
    return address(pixels.repeat(CELL, axis=0).repeat(CELL, axis=1), side=CELL * len(matrix))
