"""Wrong evaluations that the gate must catch, and honest controls that it must not accuse: ``robench traps``.

The components of the traps use the public plugin API, like every plugin's, but have no entry point: nobody should be
able to name one in a run by mistake. What other tools would have said of them is asked by detectors, which are
offered like any other component.
"""

from __future__ import annotations

from robench import Detector, hookimpl


@hookimpl
def robench_detectors() -> list[type[Detector]]:
    """Offer the warnings of other tools."""
    from robench_traps.detectors.art import ARTGradients
    from robench_traps.detectors.autoattack import AutoAttackFlags
    from robench_traps.detectors.ioaf import AttackFailure

    return [AutoAttackFlags, AttackFailure, ARTGradients]
