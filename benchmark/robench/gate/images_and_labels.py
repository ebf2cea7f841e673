"""Are the images, their labels and the clean answers what they should be?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from robench.evidence.card import Check
from robench.evidence.check_rules import COPIES, LEAKED, NEAR, chance_of
from robench.evidence.check_verdict import entry, weigh
from robench.evidence.image_signatures import near
from robench.gate.measurement import Measurement

#: Test images whose near copies are looked for.
COMPARED = 1000


def reference(measured: Measurement, group: Sequence[Measurement]) -> Check:
    """Compare the victim's clean accuracy with what its author states."""
    name = "reference clean accuracy"
    stated, tolerance = measured.reference
    undefended = next((other for other in group if other.cell.undefended), None)
    if stated is None:
        return entry(name, {}, "The victim's author states no accuracy for this dataset.")
    if undefended is None:
        return entry(name, {"stated": stated, "there": False}, "The undefended victim was not run.")
    correct = int(undefended.clean.correct.sum())
    figures = {
        "stated": stated,
        "there": True,
        "tolerance": tolerance,
        "undefended_right": correct,
        "images": undefended.n,
    }
    good = weigh(name, figures).status == "pass"
    meaning = (
        "The victim classifies as its author states."
        if good
        else f"The victim reaches {correct / undefended.n:.1%}, but {stated:.1%} is stated: wrong weights, "
        "preprocessing, class order or prompts."
    )
    return entry(name, figures, meaning)


def above_chance(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that the model beats the most frequent class, without which there is nothing to defend."""
    labels, classes = measured.clean.labels, len(measured.data.classes)
    most = int(torch.bincount(labels).max())
    right = int(measured.clean.correct.sum())
    figures = {"right": right, "of": measured.n, "most": most, "classes": classes}
    (chance, digits), single = chance_of(figures), most == 1 < measured.n
    good = weigh("above chance", figures).status == "pass"
    rival = f"a guess among {classes:,} classes" if single else "always answering the most frequent class"
    meaning = (
        f"The model beats {'guessing' if single else 'the most frequent class'}."
        if good
        else f"The model is right on {right / measured.n:.1%} of the clean images; {rival} would be right on "
        f"{chance:.{digits}%}. Check weights, classes and preprocessing."
    )
    return entry("above chance", figures, meaning)


def classes_shown(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that the test images are no sorted end of the dataset."""
    name, classes, n = "classes shown", len(measured.data.classes), measured.n
    present = len(measured.clean.labels.unique())
    at_random = classes * (1 - (1 - 1 / classes) ** n)
    figures = {"present": present, "classes": classes, "of": n}
    fault = weigh(name, figures).status != "pass"
    meaning = (
        f"The {n} test images show {present} of {classes} classes; {at_random:.0f} would be seen at random. Is the "
        "split sorted or cut? An accuracy on these says nothing about the others: draw the images with --n instead."
        if fault
        else "The test images show as many classes as images drawn at random would."
    )
    return entry(name, figures, meaning)


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
    figures = {"relabelled": int(best), "explained": int(right), "of": measured.n}
    fault = weigh("class order", figures).status != "pass"
    names = measured.data.classes
    pairs = [(row, column) for row, column in zip(rows, columns, strict=True) if row != column and confusion[row].sum()]
    wrong = [f"{names[row]} as {names[column]}" for row, column in pairs]
    meaning = (
        f"With the classes relabelled ({', '.join(wrong[:3])}) {best / measured.n:.1%} of the clean answers would be "
        f"right instead of {right / measured.n:.1%}: the class order of the model is not that of the dataset."
        if fault
        else "No relabelling of the classes explains the clean answers much better."
    )
    return entry("class order", figures, meaning)


def leakage(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """Count test images that were trained on, and copies among the test images."""
    hashes, train = measured.clean.hashes, measured.train_signatures
    copies = 1 - len(hashes.unique()) / measured.n
    shared = int(torch.isin(hashes, train.hashes).sum())
    alike = near(measured.clean.thumbnails[:: -(-measured.n // COMPARED)], train.thumbnails).float().mean().item()
    if shared / measured.n > LEAKED[0]:
        meaning = (
            f"{shared} of {measured.n} test images are in the training split, bit by bit: the defense was trained on "
            "what it is tested on. Make the splits disjoint."
        )
    elif alike > NEAR:
        meaning = (
            f"For {alike:.0%} of the test images the training split holds one that differs by less than two grey "
            "levels: the defense was trained on copies of what it is tested on. Make the splits disjoint."
        )
    elif copies > COPIES:
        meaning = f"{copies:.0%} of the test images are copies of others, so N is smaller than it looks; remove them."
    else:
        meaning = "No test image was trained on, and hardly any is a copy of another."
    figures = {"shared": shared, "alike": alike, "copies": copies, "of": measured.n}
    return entry("split leakage", figures, meaning)


def trained_parameters(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """Hold the parameters that were trained to those that were declared."""
    training = measured.fitted.training
    wrong = [*training.without_gradient, *training.undeclared]
    if not wrong:
        meaning = f"Exactly the {len(training.names)} declared parameter tensors were trained."
        return entry("trained parameters", {"count": 0, "n": 0}, meaning)
    meaning = (
        f"Declared but never given a gradient: {', '.join(training.without_gradient[:5]) or 'none'}; changed but "
        f"not declared: {', '.join(training.undeclared[:5]) or 'none'}. The defense does not train what it says. "
        "(Buffers that fit computes rather than trains are declared in Defense.statistics.)"
    )
    return entry("trained parameters", {"count": len(wrong), "n": 0}, meaning)
