"""Every probe and every check of the gate, in the order of the card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from robench.case import Case
from robench.evidence.card import Check
from robench.gate import answers, binarization, comparison, conduct, effort, gradients, images, landscape, strength
from robench.gate.subject import Subject, Trial

#: What is tried once for a defended victim under one threat model.
ROW_PROBES: Mapping[str, Callable[[Subject], dict[str, Any]]] = {
    "answers": answers.look,
    "path": answers.look_path,
    "gradients": gradients.look,
    "strength": strength.look,
    "landscape": landscape.look,
}

#: What is tried for each attack on it.
TRIAL_PROBES: Mapping[str, Callable[[Trial], dict[str, Any]]] = {
    "conduct": conduct.look,
    "effort": effort.look,
    "binarization": binarization.look,
}

CHECKS: Sequence[Callable[[Case, Sequence[Case]], Check]] = (
    conduct.box_and_ball,
    conduct.identity,
    conduct.moved,
    conduct.asked,
    answers.deterministic,
    answers.company,
    answers.evaluation,
    answers.attacked,
    comparison.rescored,
    comparison.not_above_clean,
    images.reference,
    images.above_chance,
    images.classes_shown,
    images.class_order,
    images.leakage,
    images.manifest,
    gradients.present,
    gradients.true,
    gradients.useful,
    answers.saturated,
    comparison.declared,
    comparison.path,
    comparison.falls,
    conduct.step_size,
    conduct.best_iterate,
    effort.converged,
    effort.more,
    effort.falls_with_eps,
    effort.unbounded,
    strength.one_step,
    comparison.dearer,
    comparison.transfer,
    strength.stronger,
    strength.another_loss,
    strength.slopes,
    strength.queries,
    strength.noise,
    landscape.stable,
    binarization.binarization,
)
