"""Certificates beside all cards of the weights that they speak of: attacks in a ball within theirs count too."""

from __future__ import annotations

from collections.abc import Sequence

from robench.evidence.card import Check
from robench.evidence.certified_images import Claim, contains, looks_of, stands_check
from robench.evidence.row_cells import RowCell


def stands_over(row: Sequence[RowCell], same_weights: Sequence[RowCell]) -> Check | None:
    """Return what attacks say of the certificates that a row's cards state; None if they state none.

    Args:
        row: the cells of one defended victim under one threat model.
        same_weights: the cells of the same weights and images under any, with whatever seed.
    """
    claims = {
        record.artifact: Claim.of(record, cell.card.cell.threat.norm, cell.card.cell.threat.eps)
        for cell in row
        for record in cell.card.certificates
    }
    if not claims:
        return None
    threat, size = row[0].card.cell.threat, _size(row[0])
    looks = [
        look
        for cell in sorted(same_weights, key=lambda cell: cell.card.id)
        if contains(threat.norm, threat.eps, cell.card.cell.threat.norm, cell.card.cell.threat.eps, size)
        for look in looks_of(cell.card.cell.attack_label, cell.card.clean, cell.card.robust)
    ]
    return stands_check([claims[key] for key in sorted(claims)], looks)


def _size(cell: RowCell) -> int:
    channels, height, width = cell.card.data.shape
    return channels * height * width
