"""judge: weigh the probes, the outcomes and the cells beside a cell before its number may be ranked."""

from __future__ import annotations

from collections.abc import Sequence

from robench.case import Case
from robench.evidence.card import Gate
from robench.gate.registry import CHECKS


def judge(case: Case, ring: Sequence[Case]) -> Gate:
    """Return the verdict on ``case``, judged beside the cells of its ring (itself among them)."""
    checks = [check(case, ring) for check in CHECKS]
    statuses = {check.status for check in checks}
    verdict = "INVALID" if "invalid" in statuses else "SUSPECT" if "suspect" in statuses else "VALID"
    return Gate(
        verdict=verdict,  # type: ignore[arg-type]  # one of the three literals
        checks=checks,
        level=case.level.name,
        images=case.level.images,
        limit=case.level.cost,
        share=round(case.gate_share, 6),
    )
