"""The conformance kit: hold a component to its contract, from any pytest suite.

    import pytest
    from my_defense import MyDefense
    from robench.testing import Check, conformance

    @pytest.mark.parametrize("check", conformance(MyDefense), ids=str)
    def test_conformance(check: Check) -> None:
        check()

A check that cannot be tried is skipped with its reason, such as a model that takes 32 x 32 only. ``robench
check-plugin`` runs the same checks. The kit has its own tiny victims and images; it reaches for no network.
"""

from __future__ import annotations

from robench.testing.component_under_test import NotApplicable, NotTried
from robench.testing.conformance import Check, Result, check_component, conformance
from robench.testing.pretended_counts import Counts
from robench.testing.pretended_cuda import pretended_cuda

__all__ = ["Check", "Counts", "NotApplicable", "NotTried", "Result", "check_component", "conformance", "pretended_cuda"]
