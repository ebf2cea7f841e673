"""The test images of a run, for whoever makes adversarial ones with a library of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robench.contracts.components import Dataset
from robench.contracts.examples import Examples
from robench.pipeline.stages.load import load_data
from robench.plan import flags_and_arguments as wording
from robench.plan import request_values as values
from robench.plan.cell import type_of
from robench.plan.spec import Spec, plan_dataset
from robench.runtime.interruption import contained


def load_test(dataset: str = "", n: int | None = None, parameters: Mapping[str, Any] | None = None) -> Examples:
    """Return the test images that a run serves, in its order: the positions that ``--attack images:FILE`` counts by.

    Args:
        dataset: as for :func:`robench.run`; empty is the default dataset.
        n: number of test images, as in the run; None takes all.
        parameters: such as ``{"dataset.path": "photos"}``.

    Raises:
        RobenchError: there is no such dataset, or it cannot be served.
    """
    with wording.for_python():
        spec = values.checked(Spec(dataset=dataset, n=n, parameters=parameters if parameters is not None else {}))
        with contained():
            chosen = plan_dataset(spec)
        return load_data(type_of(chosen, Dataset), spec.n).test
