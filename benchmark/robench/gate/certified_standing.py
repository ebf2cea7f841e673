"""What certificates say beside attacks: a certified image that falls is a contradiction, whoever erred."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from robench.contracts.certificate import Certificate
from robench.contracts.search_precision import searched_in
from robench.evidence.card import Check
from robench.evidence.certified_images import Claim, Look, stands_check
from robench.evidence.statistics import number_of
from robench.gate.measurement import Measurement
from robench.gate.worst_case import of_same_model
from robench.plan.cell import type_of


def stand(measured: Measurement, group: Sequence[Measurement]) -> Check | None:
    """See that no certified image was turned by an attack of the group; None where nothing is certified."""
    if not measured.certified:
        return None
    looks = [look for other in of_same_model(measured, group) for look in _looks(other)]
    return stands_check([*_claims(measured)], looks)


def _claims(measured: Measurement) -> Iterator[Claim]:
    threat = measured.cell.threat
    for chosen, found in zip(measured.cell.certificates, measured.certified, strict=True):
        own: Certificate = type_of(chosen, Certificate)
        name, bits = chosen.record().label, number_of(found.stands.tolist())
        yield Claim(name, bits, measured.n, threat.norm, threat.eps, float(own.error), bool(own.randomized))


def _looks(measured: Measurement) -> Iterator[Look]:
    label = measured.cell.attack.record().label + searched_in(measured.cell.precision)
    for attack, outcomes in (("", measured.clean), (label, measured.robust)):
        yield Look(attack, outcomes.hits.tolist(), outcomes.draws)
