"""How the kit's own tests ask it."""

from __future__ import annotations

import pytest

from robench.testing import check_component, conformance
from robench.testing.conformance import attempt


@pytest.fixture(scope="session")
def judged():
    """Return a function that gives the results of a component by check."""

    def results(component, **options):
        return {result.name: result for result in check_component(component, **options)}

    return results


@pytest.fixture(scope="session")
def caught(judged):
    """Return a function that gives the failing checks' sentences by name."""

    def failures(component, **options):
        return {r.name: r.sentence for r in judged(component, **options).values() if r.status == "failed"}

    return failures


@pytest.fixture(scope="session")
def sentence():
    """Return a function that tries one check of a component and gives its sentence if it failed."""

    def says(component, name):
        (check,) = (check for check in conformance(component) if check.name == name)
        result = attempt(check)
        return result.sentence if result.status == "failed" else ""

    return says
