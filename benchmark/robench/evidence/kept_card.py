"""One file a cell: what an earlier run found of the same cell is kept when a run writes its card again.

A card's id and file name say which cell it is of. Neither the certificates that were asked nor the level of the gate
enter them, so a run that asks for less would write a card that holds less over one that holds more.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from robench.errors import CardError
from robench.evidence import card_file
from robench.evidence.card import CERTIFIED_CLOCKS, SCHEMA_VERSION, Card, CertificateRecord, Check
from robench.evidence.certified_images import Claim, looks_of, stands_check
from robench.evidence.compound_rules import STANDS
from robench.evidence.gate_consistency import verdict_of

#: Levels of the gate, from the one that tries least.
GATES = ("quick", "standard", "thorough")
CERTIFY = "certify"

Effort = tuple[int, float, int, int, int]


def write_kept(card: Card, folder: Path) -> tuple[Card, list[str]]:
    """Write a card with what the card of its cell in the folder holds beyond it.

    Returns:
        The card as it is there now, and what it keeps of the one that was, such as ``gate standard``.
    """
    there = _there(folder / card.file_name)
    whole = card if there is None else together(card, there)
    card_file.write(whole, folder)
    return whole, [*_beyond(card, whole)]


def together(new: Card, old: Card) -> Card:
    """Return the card of a cell that holds what two recordings of it hold.

    The gate's figures are those of the recording that tried harder, the later one of two alike, and with them costs
    and machine. The certificates are those of both. Labels are those of the new one, and so is the protocol if it
    follows one. Of an old card that states other answers than were measured now, or other weights, nothing is kept.
    """
    if old.id != new.id or {old.schema_version, new.schema_version} != {SCHEMA_VERSION} or not _same(new, old):
        return new
    base, other = (old, new) if effort(old) > effort(new) else (new, old)
    cell = new.cell if new.cell.protocol or not old.cell.protocol else old.cell
    base, records = replace(base, cell=replace(cell, stages=base.cell.stages)), _records(base, other)
    if len(records) == len(base.certificates):
        return base
    stages = {**base.cell.stages, CERTIFY: other.cell.stages[CERTIFY]}
    checks = [one for one in base.gate.checks if one.name != STANDS]
    checks.append(_stands(base, other, records))
    return replace(
        base,
        cell=replace(base.cell, stages=stages),
        certificates=records,
        gate=replace(base.gate, checks=checks, verdict=verdict_of(checks)),
        clocks=[*dict.fromkeys([*base.clocks, *CERTIFIED_CLOCKS])],
    )


def effort(card: Card) -> Effort:
    """Return how hard the gate tried, to be compared: level, limit, images, version of its rules, what it probed."""
    gate = card.gate
    level = GATES.index(gate.level) if gate.level in GATES else -1
    limit = float("inf") if gate.limit is None else gate.limit
    return level, limit, gate.images, card.cell.stages.get("judge", 0), len(gate.probed)


def _same(new: Card, old: Card) -> bool:
    """Return whether two recordings state the same answers of the same weights on the same images."""
    answers = [(card.data.test, card.model.defended, card.clean.bits, card.robust.bits) for card in (new, old)]
    return answers[0] == answers[1]


def _there(path: Path) -> Card | None:
    """Return the card in a file; None if there is none that can be read."""
    try:
        return card_file.read(path) if path.is_file() and not path.is_symlink() else None
    except CardError:
        return None


def _records(base: Card, other: Card) -> list[CertificateRecord]:
    """Return the certificates of both, each once; those of another version of the stage have other ids, and go."""
    found = {record.artifact: record for record in base.certificates}
    if not found or base.cell.stages.get(CERTIFY) == other.cell.stages.get(CERTIFY):
        found |= {record.artifact: record for record in other.certificates if record.artifact not in found}
    return [*found.values()]


def _stands(base: Card, other: Card, records: list[CertificateRecord]) -> Check:
    """Return the check of certified images over all certificates: the worst of what was found."""
    threat, attack = base.cell.threat, base.cell.attack_label
    own = stands_check(
        [Claim.of(record, threat.norm, threat.eps) for record in records], looks_of(attack, base.clean, base.robust)
    )
    found = [one for card in (base, other) for one in card.gate.checks if one.name == STANDS]
    return min([*found, own], key=lambda one: (one.status != "invalid", -(one.value or 0.0)))


def _beyond(card: Card, whole: Card) -> Iterator[str]:
    """Yield what a card holds beyond the one that was to be written."""
    if effort(whole)[:3] > effort(card)[:3]:
        yield f"gate {whole.gate.level}"
    own = {record.artifact for record in card.certificates}
    for record in whole.certificates:
        if record.artifact not in own:
            yield f"certificate {record.certificate.label}"
    if whole.cell.protocol != card.cell.protocol:
        yield f"protocol {whole.cell.protocol}"
