"""Put what a check of a card found into an attestation beside it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

from robench.errors import StoreError
from robench.evidence.attestation import FILE, FOLDER, Attestation, Word, digest_of
from robench.evidence.card import Card
from robench.evidence.provenance import environment
from robench.verify.repetition import Finding, word

#: What has to be at hand before evidence counts as checked.
NEEDED = ("clean outcomes", "robust outcomes", "fit", "gate's probes", "adversarial set")


def lacking(findings: Sequence[Finding]) -> str:
    """Return what was not at hand of the evidence that a check needs; empty if all was there."""
    there = {finding.what for finding in findings if finding.good is not None}
    return ", ".join(what for what in NEEDED if what not in there)


def attestation(
    card: Card,
    findings: Sequence[Finding],
    how: Literal["evidence", "rerun"],
    device: str,
    by: str = "",
    again: Card | None = None,
) -> Attestation:
    """Return the statement of what was found; ``again`` is the card of the same cell, computed again."""
    found = again or card
    return Attestation(
        card=digest_of(card),
        id=card.id,
        file=card.file_name,
        how=how,
        word=cast(Word, word(findings)),
        rescored=any(finding.what == "re-score" and finding.good is not None for finding in findings),
        missing=sum(finding.good is None for finding in findings),
        clean=found.clean.bits,
        robust=found.robust.bits,
        by=by,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=environment(device),
    )


def attest(one: Attestation, folder: Path) -> Path:
    """Write an attestation beside the cards in ``folder``; return its path."""
    try:
        return FILE.write(one, folder / FOLDER)
    except StoreError as error:
        raise StoreError(f"The attestation was not written: {error}") from None
