"""What the attacks on one defended victim leave standing together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from robench.contracts.components import Attack
from robench.contracts.threat_model import counts
from robench.evidence.cross_cell_checks import CHANCE
from robench.gate.measurement import Measurement
from robench.plan.cell import type_of


def of_same_model(measured: Measurement, group: Sequence[Measurement]) -> list[Measurement]:
    """Return the cells on the same defended victim, this one among them."""
    return [other for other in group if other.defended_victim == measured.defended_victim]


def end_to_end(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Return the cells attacked through the defended victim: by its gradients or by queries to it."""
    return [measured for measured in measurements if not measured.transfer]


def standing_mask(measurements: Sequence[Measurement]) -> Tensor:
    """Return (N,) bool: right under every attack of these cells; clean where there is none."""
    masks = [measured.robust.correct for measured in measurements]
    return torch.stack(masks).all(0) if masks else torch.zeros(0, dtype=torch.bool)


def climbers(measured: Measurement, group: Sequence[Measurement]) -> list[Measurement]:
    """Return the attacks of many steps through the defended victim, this one among them.

    The headline is the worst of them per image, so an image that one of them wins is lost, whatever a targeted
    attack, or one made for transfer, leaves standing.
    """
    return [other for other in end_to_end(of_same_model(measured, group)) if other.iterative or other is measured]


def standing(measured: Measurement, group: Sequence[Measurement]) -> int:
    """Return how many images stand under every end-to-end attack on the measured model."""
    same = of_same_model(measured, group)
    return int(standing_mask(end_to_end(same) or same).sum())


def won_over(stood: Sequence[Measurement], others: Sequence[Measurement]) -> int:
    """Return how many images stand under all of ``stood`` and fall under one of ``others``.

    Of a randomized defense those count that fall in more draws than chance explains: two counts of d draws differ by
    a standard error of at most sqrt(d / 2).
    """
    won = standing_mask(stood) & ~standing_mask(others)
    draws = stood[0].robust.draws
    if draws > 1:
        won &= _least_hits(stood) - _least_hits(others) >= CHANCE * math.sqrt(draws / 2)
    return int(won.sum())


def _least_hits(measurements: Sequence[Measurement]) -> Tensor:
    return torch.stack([measured.robust.hits for measured in measurements]).amin(0)


def one_step_only(measured: Measurement, group: Sequence[Measurement]) -> bool:
    """Tell whether nothing but single steps was tried on this model: weak evidence, not a broken attack."""
    return not any(other.iterative for other in end_to_end(of_same_model(measured, group)))


def searched(measured: Measurement, group: Sequence[Measurement]) -> bool:
    """Tell whether pixels or squares were searched for by many queries, which is how both norms are searched best."""
    attacks: list[Attack] = [type_of(other.cell.attack, Attack) for other in end_to_end(of_same_model(measured, group))]
    return counts(measured.cell.threat.norm) and any(one.queries_only and one.passes()[0] > 1 for one in attacks)
