"""1,000 groups of cells, 64 workers, one store: what share of their time goes into the work itself."""

from __future__ import annotations

from tests.worker_processes import simulate

from .interleave import report


def test_claims_do_not_thrash(tmp_path):
    spent = simulate(tmp_path, pieces=1000, workers=64, seconds=1.0)
    report(
        "1,000 groups of 1 s, 64 workers: seconds of all workers",
        [
            ("stages", "claims (processor)", "in stages"),
            (f"{spent.stages:.0f}", f"{spent.claims:.1f}", f"{spent.share:.1%}"),
        ],
    )
    assert spent.times == [1] * 1000
    assert spent.share > 0.9
