"""Hold what a card says of certificates to its own bits and identity."""

from __future__ import annotations

from collections.abc import Iterator

from robench.errors import CardError
from robench.evidence.card import Card, CertificateRecord
from robench.evidence.card_identity import CardIds
from robench.evidence.certified_images import Claim, looks_of, stands_check
from robench.evidence.compound_rules import STANDS
from robench.evidence.statistics import proportion


def certificate_problems(card: Card) -> Iterator[str]:
    """Yield how what a card says of certificates contradicts itself."""
    checks = [one for one in card.gate.checks if one.name == STANDS]
    if not card.certificates:
        return
    for record in card.certificates:
        yield from _record_problems(record, card)
    if not checks:
        yield f"it states certificates, but its gate lacks the check '{STANDS}'."
        return
    threat, attack = card.cell.threat, card.cell.attack_label
    claims = [Claim.of(record, threat.norm, threat.eps) for record in card.certificates]
    own = stands_check(claims, looks_of(attack, card.clean, card.robust))
    if own.status == "invalid" and checks[0].status != "invalid":
        yield f"the check '{STANDS}' is {checks[0].status}, but {own.meaning[0].lower()}{own.meaning[1:]}"
    counted = {(claim.bits.bit_count(), claim.error) for claim in claims}
    if (checks[0].figures.get("certified"), checks[0].figures.get("error")) not in counted:
        yield f"the check '{STANDS}' weighs another certificate than the card's."


def _record_problems(record: CertificateRecord, card: Card) -> Iterator[str]:
    """Yield what of one certificate's counts or id does not follow from what the card states."""
    name = record.certificate.label
    try:
        counted = sum(record.mask())
    except CardError as error:
        yield f"the certificate {name}: {error}"
        return
    if record.n != card.cell.n or counted != record.certified:
        yield f"the certificate {name} counts {record.certified} of {record.n}, its bits do not."
        return
    if proportion(record.certified, record.n) != (record.low, record.high):
        yield f"the interval of the certificate {name} does not follow from its counts."
    if record.cost.images != record.n:
        yield f"the certificate {name} was asked about {record.cost.images} images, not {record.n}."
    if record.randomized != card.training.randomized:
        yield f"the certificate {name} speaks of another kind of defense than the card's."
    if bool(record.error) and not record.randomized:
        yield f"the certificate {name} is a proof, and states an error."
    if "certify" not in card.cell.stages or CardIds(card).certificate(record) != record.artifact:
        yield f"the certificate {name} has not the id that follows from what the card states of it."
