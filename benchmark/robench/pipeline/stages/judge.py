"""judge: weigh the probes, the outcomes and the other cells of its comparison group before its number may be ranked."""

from __future__ import annotations

from collections.abc import Sequence

from robench.evidence.card import Gate
from robench.gate.applicability import where_applicable
from robench.gate.measurement import Measurement
from robench.gate.registry import CHECKS, OF_A_KIND, WHERE_CERTIFIED
from robench.gate.worst_case import end_to_end, of_same_model


def judge(measured: Measurement, group: Sequence[Measurement]) -> Gate:
    """Return the verdict on ``measured``, judged with the cells of its comparison group (itself among them)."""
    checks = [where_applicable(check(measured, group), measured) for check in CHECKS]
    checks += [found for check in (*OF_A_KIND, *WHERE_CERTIFIED) if (found := check(measured, group)) is not None]
    statuses = {check.status for check in checks}
    verdict = "INVALID" if "invalid" in statuses else "SUSPECT" if "suspect" in statuses else "VALID"
    return Gate(
        verdict=verdict,  # type: ignore[arg-type]  # one of the three literals
        checks=checks,
        level=measured.level.name,
        images=measured.level.images,
        limit=measured.level.cost,
        share=round(measured.gate_share, 6),
        probed=sorted(other.cell.score_id for other in end_to_end(of_same_model(measured, group))),
    )
