"""Every probe and every check of the gate, in the order of the card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from robench.evidence.card import Check
from robench.gate import (
    attack_behaviour,
    attack_effort,
    binarization,
    cell_comparison,
    certified_standing,
    corruptions,
    duplicates,
    generalisation,
    gradients,
    images_and_labels,
    loss_landscape,
    model_consistency,
    one_for_all,
    straight_through_path,
    stronger_attacks,
)
from robench.gate.measurement import Measurement
from robench.gate.probe_context import AttackContext, ProbeContext

#: What is tried once for a defended victim under one threat model; the last ones get the passes that are left.
MODEL_PROBES: Mapping[str, Callable[[ProbeContext], dict[str, Any]]] = {
    "answers": model_consistency.probe,
    "path": straight_through_path.probe,
    "gradients": gradients.probe,
    "unseen": generalisation.probe,
    "strength": stronger_attacks.probe,
    "landscape": loss_landscape.probe,
    "copies": duplicates.probe,
}

#: What is tried for each attack on it, in this order too.
ATTACK_PROBES: Mapping[str, Callable[[AttackContext], dict[str, Any]]] = {
    "behaviour": attack_behaviour.probe,
    "unseen": generalisation.probe_attack,
    "effort": attack_effort.probe,
    "binarization": binarization.probe,
    "moved": generalisation.probe_moved,
    "shared": one_for_all.probe,
    "corruption": corruptions.probe,
}

CHECKS: Sequence[Callable[[Measurement, Sequence[Measurement]], Check]] = (
    attack_behaviour.box_and_ball,
    attack_behaviour.identity,
    attack_behaviour.moved,
    attack_behaviour.asked,
    model_consistency.deterministic,
    model_consistency.batch_mates,
    model_consistency.evaluation,
    model_consistency.same_under_gradients,
    cell_comparison.rescored,
    cell_comparison.clean_again,
    cell_comparison.not_above_clean,
    images_and_labels.reference,
    images_and_labels.above_chance,
    images_and_labels.classes_shown,
    images_and_labels.class_order,
    duplicates.leakage,
    generalisation.generalises,
    images_and_labels.trained_parameters,
    gradients.present,
    gradients.true,
    gradients.useful,
    model_consistency.saturated,
    cell_comparison.declared,
    straight_through_path.path,
    straight_through_path.leads,
    cell_comparison.falls,
    attack_behaviour.step_size,
    attack_behaviour.best_iterate,
    attack_effort.converged,
    attack_effort.more,
    attack_effort.falls_with_eps,
    attack_effort.unbounded,
    stronger_attacks.one_step,
    cell_comparison.dearer,
    cell_comparison.transfer,
    stronger_attacks.stronger,
    stronger_attacks.another_loss,
    stronger_attacks.slopes,
    stronger_attacks.queries,
    stronger_attacks.noise,
    loss_landscape.stable,
    binarization.binarization,
)

#: Checks that a card has only where its attack is of the kind that they look at: those that then return one.
OF_A_KIND: Sequence[Callable[[Measurement, Sequence[Measurement]], Check | None]] = (
    one_for_all.one,
    one_for_all.stronger,
    corruptions.every,
    corruptions.grows,
    corruptions.unasked,
    corruptions.differ,
)

#: Checks that a card has only where there is something for them to see: those that then return one.
WHERE_CERTIFIED: Sequence[Callable[[Measurement, Sequence[Measurement]], Check | None]] = (certified_standing.stand,)
