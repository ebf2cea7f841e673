"""Are the images, their labels and the clean answers what they should be?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robench.evidence.card import Check, Status
from robench.evidence.check_rules import RELABELLED
from robench.evidence.check_verdict import check, exceeds, skip
from robench.evidence.statistics import proportion, wilson
from robench.gate.measurement import Measurement

#: Share of the classes, of those that n images drawn at random would show, that must be there.
SHOWN = 0.4
#: A model that certainly reaches less than this part of the way from chance to always right is no classifier.
USELESS = 1 / 3


def reference(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """Compare the victim's clean accuracy with what its author states."""
    name = "reference clean accuracy"
    stated, tolerance = measured.reference
    undefended = next((other for other in group if other.cell.undefended), None)
    if stated is None:
        return skip(name, "within the stated interval", "The victim's author states no accuracy for this dataset.")
    if undefended is None:
        return skip(name, "within the stated interval", "The undefended victim was not run.")
    correct = int(undefended.clean.correct.sum())
    low, high = proportion(correct, undefended.n)
    good = low - tolerance <= stated <= high + tolerance
    meaning = (
        "The victim classifies as its author states."
        if good
        else f"The victim reaches {correct / undefended.n:.1%}, but {stated:.1%} is stated: wrong weights, "
        "preprocessing, class order or prompts."
    )
    threshold = f"{stated:.2%} within [{low:.2%}, {high:.2%}] +- {tolerance:.1%}"
    return check(name, "pass" if good else "suspect", correct / undefended.n, threshold, undefended.n, meaning)


def above_chance(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """See that the model beats the most frequent class, without which there is nothing to defend."""
    labels, classes = measured.clean.labels, len(measured.data.classes)
    most = int(torch.bincount(labels).max())
    right = int(measured.clean.correct.sum())
    # Where no class has two images, none is the most frequent: that one of n classes is right once is hindsight.
    single = most == 1 < measured.n
    chance = 1 / classes if single else most / measured.n
    low, high = wilson(right, measured.n)
    good = most == measured.n or low > chance
    rival = f"a guess among {classes:,} classes" if single else "always answering the most frequent class"
    meaning = (
        f"The model beats {'guessing' if single else 'the most frequent class'}."
        if good
        else f"The model is right on {right / measured.n:.1%} of the clean images; {rival} would be right on "
        f"{chance:.{_digits(chance)}%}. Check weights, classes and preprocessing."
    )
    status: Status = "pass" if good else "suspect"
    useless = high < chance + USELESS * (1 - chance)
    bare = max((int(other.clean.correct.sum()) for other in group if other.cell.undefended), default=0)
    if good and useless and not measured.cell.undefended and wilson(bare, measured.n)[0] > high:
        meaning = (
            f"The model hardly beats the most frequent class: {right} of {measured.n} clean images are right, of the "
            f"undefended victim {bare}. Training nearly ended at chance; try another learning rate or more epochs."
        )
    if not good and not useless:
        status, meaning = "skipped", f"Not enough images to tell from chance ({low:.0%} to {high:.0%} right); add --n."
    threshold = f"> {chance:.{_digits(chance)}%}"
    return check("above chance", status, right / measured.n, threshold, measured.n, meaning)


def _digits(share: float) -> int:
    return 1 if share >= 0.01 else 2


def classes_shown(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that the test images are no sorted end of the dataset."""
    # Names that occur in no split are outputs that nothing is said of, and no classes that are kept from sight.
    name, classes, n = "classes shown", measured.classes_served or len(measured.data.classes), measured.n
    present = len(measured.clean.labels.unique())
    at_random, least = _expected(classes, n)
    # A few images may well be of one class.
    fault = classes > 1 and present <= least and classes ** (1.0 - min(n, 100)) < 1e-3
    meaning = (
        f"The {n} test images show {present} of {classes} classes; {at_random:.0f} would be seen at random. Is the "
        "split sorted or cut? An accuracy on these says nothing about the others: draw the images with --n instead."
        if fault
        else "The test images show as many classes as images drawn at random would."
    )
    return check(name, "suspect" if fault else "pass", present, f"> {least} classes", n, meaning)


def shows_few(labels: Tensor, classes: int) -> bool:
    """Tell whether labels show fewer of the classes than images drawn at random would."""
    return len(labels.unique()) <= _expected(classes, len(labels))[1]


def _expected(classes: int, n: int) -> tuple[float, int]:
    """Return how many of ``classes`` n images show at random, and the most that are too few."""
    at_random = classes * (1 - (1 - 1 / classes) ** n)
    return at_random, max(1, int(SHOWN * at_random))


def class_order(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See whether another assignment of labels to outputs would explain the clean answers far better."""
    from scipy.optimize import linear_sum_assignment

    classes = len(measured.data.classes)
    confusion: Any = np.zeros((classes, classes))
    np.add.at(confusion, (measured.clean.labels.numpy(), measured.clean.predictions.numpy()), 1)
    # One image taken for another class is a mistake; a relabelling that fits it would fit any. With one image a class
    # (captions), all mistakes that differ could be relabelled away.
    evidence = np.where((confusion > 1) | np.eye(classes, dtype=bool), confusion, 0)
    rows, columns = linear_sum_assignment(-evidence)
    best, right = float(evidence[rows, columns].sum()), float(np.trace(confusion))
    gain = (best - right) / measured.n
    fault = exceeds(best - right, measured.n, RELABELLED)
    names = measured.data.classes
    pairs = [(row, column) for row, column in zip(rows, columns, strict=True) if row != column and confusion[row].sum()]
    wrong = [f"{names[row]} as {names[column]}" for row, column in pairs]
    meaning = (
        f"With the classes relabelled ({', '.join(wrong[:3])}) {best / measured.n:.1%} of the clean answers would be "
        f"right instead of {right / measured.n:.1%}: the class order of the model is not that of the dataset."
        if fault
        else "No relabelling of the classes explains the clean answers much better."
    )
    threshold = f"<= {RELABELLED:.0%} gained"
    return check("class order", "invalid" if fault else "pass", gain, threshold, measured.n, meaning)


def trained_parameters(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """Hold the parameters that were trained to those that were declared."""
    training = measured.fitted.training
    wrong = [*training.without_gradient, *training.undeclared]
    if not wrong:
        meaning = f"Exactly the {len(training.names)} declared parameter tensors were trained."
        return check("trained parameters", "pass", 0, "= 0 tensors", 0, meaning)
    meaning = (
        f"Declared but never given a gradient: {', '.join(training.without_gradient[:5]) or 'none'}; changed but "
        f"not declared: {', '.join(training.undeclared[:5]) or 'none'}. The defense does not train what it says. "
        "(Buffers that fit computes rather than trains are declared in Defense.statistics.)"
    )
    return check("trained parameters", "invalid", len(wrong), "= 0 tensors", 0, meaning)
