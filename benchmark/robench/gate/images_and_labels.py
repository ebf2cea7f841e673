"""Are the images, their labels and the clean answers what they should be?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from robench.evidence.card import Check, Status
from robench.evidence.check_verdict import check, skip
from robench.evidence.image_signatures import near
from robench.evidence.statistics import proportion, wilson
from robench.gate.measurement import Measurement

#: Share of the test images that may lie in the training split, bit by bit: above, SUSPECT; far above, INVALID.
LEAKED = (0.01, 0.05)
#: Share of test images that may be copies of others.
COPIES = 0.05
#: Share of test images of which the training split may hold a near copy; CIFAR-100, with 1 in 10 by a wider measure,
#: must not be accused.
NEAR = 0.10
#: Test images whose near copies are looked for.
COMPARED = 1000
#: Share of the classes, of those that n images drawn at random would show, that must be there.
SHOWN = 0.4
#: A relabelling that explains the answers by this much better means that the class order is wrong.
RELABELLED = 0.20


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


def above_chance(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that the model beats the most frequent class, without which there is nothing to defend."""
    labels, classes = measured.clean.labels, len(measured.data.classes)
    most = int(torch.bincount(labels).max())
    right = int(measured.clean.correct.sum())
    # Where no class has two images, none is the most frequent: that one of n classes is right once is hindsight.
    single = most == 1 < measured.n
    chance = 1 / classes if single else most / measured.n
    good = most == measured.n or wilson(right, measured.n)[0] > chance
    rival = f"a guess among {classes:,} classes" if single else "always answering the most frequent class"
    meaning = (
        f"The model beats {'guessing' if single else 'the most frequent class'}."
        if good
        else f"The model is right on {right / measured.n:.1%} of the clean images; {rival} would be right on "
        f"{chance:.{_digits(chance)}%}. Check weights, classes and preprocessing."
    )
    threshold = f"> {chance:.{_digits(chance)}%}"
    return check("above chance", "pass" if good else "suspect", right / measured.n, threshold, measured.n, meaning)


def _digits(share: float) -> int:
    return 1 if share >= 0.01 else 2


def classes_shown(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that the test images are no sorted end of the dataset."""
    name, classes, n = "classes shown", len(measured.data.classes), measured.n
    present = len(measured.clean.labels.unique())
    at_random = classes * (1 - (1 - 1 / classes) ** n)
    least = max(1, int(SHOWN * at_random))
    # A few images may well be of one class.
    fault = classes > 1 and present <= least and classes ** (1.0 - min(n, 100)) < 1e-3
    meaning = (
        f"The {n} test images show {present} of {classes} classes; {at_random:.0f} would be seen at random. Is the "
        "split sorted or cut? An accuracy on these says nothing about the others: draw the images with --n instead."
        if fault
        else "The test images show as many classes as images drawn at random would."
    )
    return check(name, "suspect" if fault else "pass", present, f"> {least} classes", n, meaning)


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
    fault = gain > RELABELLED
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


def leakage(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """Count test images that were trained on, and copies among the test images."""
    name, threshold = "split leakage", f"<= {LEAKED[0]:.0%} of the test images"
    hashes, train = measured.clean.hashes, measured.train_signatures
    copies = 1 - len(hashes.unique()) / measured.n
    shared = int(torch.isin(hashes, train.hashes).sum())
    share = shared / measured.n
    alike = near(measured.clean.thumbnails[:: -(-measured.n // COMPARED)], train.thumbnails).float().mean().item()
    status: Status = "invalid" if share > LEAKED[1] else "suspect" if share > LEAKED[0] else "pass"
    if status != "pass":
        meaning = (
            f"{shared} of {measured.n} test images are in the training split, bit by bit: the defense was trained on "
            "what it is tested on. Make the splits disjoint."
        )
    elif alike > NEAR:
        status, share = "suspect", alike
        meaning = (
            f"For {alike:.0%} of the test images the training split holds one that differs by less than two grey "
            "levels: the defense was trained on copies of what it is tested on. Make the splits disjoint."
        )
    elif copies > COPIES:
        status, share = "suspect", copies
        meaning = f"{copies:.0%} of the test images are copies of others, so N is smaller than it looks; remove them."
    else:
        meaning = "No test image was trained on, and hardly any is a copy of another."
    return check(name, status, share, threshold, measured.n, meaning)


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
