"""Hold what a card says of certificates to what is stored, and ask the certificate again."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec
import torch

from robench.contracts.certificate import Certificate
from robench.errors import CardError
from robench.evidence.card import Card, CertificateRecord
from robench.evidence.card_identity import CardIds
from robench.evidence.statistics import pack_bits
from robench.pipeline.stages.certify import KIND, Certified, certified_now, joined
from robench.pipeline.workbench import Workbench
from robench.plan.cell import Cell, type_of
from robench.verify.repetition import FEW, Finding
from robench.verify.source import Source

#: Most images that are certified again; of more, so many are drawn.
AGAIN = 256


def against_certificates(card: Card, source: Source) -> Iterator[Finding]:
    """Yield, for each certificate of a card, whether it is what is stored."""
    for record in card.certificates:
        what = _what(record)
        chunks = [source.get(KIND, key) for key in CardIds(card).certificate_chunks(record)]
        if not all(chunks):
            yield Finding(what, None, "not in the store")
            continue
        try:
            found = joined(record.artifact, chunks)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CardError(f"The stored {what} is not what robench stores: {error}.") from None
        yield _stored(what, record, found)


def _stored(what: str, record: CertificateRecord, found: Certified) -> Finding:
    flags = found.stands.tolist()
    detail = f"{sum(flags)} of {len(flags)} certified in the store, {record.certified} in the card"
    if len(flags) != record.n or pack_bits(flags) != record.bits:
        return Finding(what, False, detail)
    if msgspec.to_builtins(found.cost) != msgspec.to_builtins(record.cost):
        return Finding(what, False, "its cost is another in the store")
    return Finding(what, True, detail)


def certified_again(card: Card, cell: Cell, workbench: Workbench) -> Iterator[Finding]:
    """Yield, for each certificate of a card, whether it says the same again of the defended victim.

    Arithmetic of another processor may decide an image otherwise that is all but certified, or all but not.
    """
    for record in card.certificates:
        what = f"{_what(record)}, again"
        chosen = next((one for one in cell.certificates if cell.certificate_id(one) == record.artifact), None)
        if chosen is None:
            yield Finding(what, None, f"this installation has no such certificate; install {record.certificate.plugin}")
            continue
        own: Certificate = type_of(chosen, Certificate)
        stated: dict[str, object] = {"randomized": bool(own.randomized), "error": float(own.error)}
        wrong = next((name for name, holds in stated.items() if getattr(record, name) != holds), None)
        if wrong is not None:
            yield Finding(what, False, f"{wrong} is {getattr(record, wrong)} in the card, {stated[wrong]} here")
            continue
        rows = sorted(random.SystemRandom().sample(range(record.n), min(record.n, AGAIN)))
        task = workbench.task(cell, "certify").replace(threat_model=cell.threat)
        now = certified_now(own, workbench.defended(cell).fitted.model, workbench.data(cell).test, rows, task)
        said = torch.tensor(record.mask())[rows]
        differ = [row for row, one in zip(rows, (now != said).tolist(), strict=True) if one]
        detail = f"{len(differ)} of {len(rows)} images are certified otherwise"
        if differ:
            detail += f" (images {', '.join(map(str, differ[:10]))})"
        few = len(differ) <= max(1, int(FEW * len(rows)))
        yield Finding(what, few, detail, rounded=bool(differ) and few)


def _what(record: CertificateRecord) -> str:
    return f"certificate {record.certificate.label[:80]}"
