"""Run the checks of a component's role, one by one."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from robench.contracts.certificate import Certificate
from robench.contracts.components import Attack, Component, Dataset, Defense, Model
from robench.contracts.detector import Detector
from robench.errors import RobenchError, require
from robench.testing.component_under_test import Checks, NotApplicable, NotTried, Subject

if TYPE_CHECKING:
    from robench.contracts.parameters import Value

#: Parts of the names of files in which nobody has made the mistake that shows there.
_NOT_TOLD = (
    *(f"testing{os.sep}pretended_{part}.py" for part in ("names", "tensor", "counts")),
    f"{os.sep}torch{os.sep}",
)

Status = Literal["passed", "failed", "not tried", "not applicable"]


@dataclass(frozen=True)
class Check:
    """Hold one check of one component; calling it raises the sentence of what is wrong."""

    name: str
    subject: Subject
    function: Callable[[Subject], None]

    def __call__(self) -> None:
        """Try it.

        Raises:
            RobenchError: the component breaks its contract; the message says what, where and the way out.
            NotTried: it could not be tried here, and why; pytest skips the test.
            NotApplicable: it does not concern this component, and why; likewise.
        """
        self.function(self.subject)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Result:
    """Hold what came of one check; ``sentence`` is empty for a passed one."""

    name: str
    status: Status
    sentence: str = ""


def conformance(
    component: type[Component] | Component, *, victim: Model | None = None, **parameters: Value
) -> list[Check]:
    """Return the checks of a component's role, to be parametrized over.

    Args:
        component: the class, or an instance with parameters of its own.
        victim: the model to attack or defend; None takes the kit's own: a small network or, for a defense that
            refuses that, a small CLIP.
        **parameters: parameters to try a class with; the others keep their defaults.
    """
    subject = Subject(component(**parameters) if isinstance(component, type) else component, victim)
    return [Check(name, subject, function) for name, function in _checks(subject).items()]


def check_component(
    component: type[Component] | Component, *, victim: Model | None = None, **parameters: Value
) -> list[Result]:
    """Run every check of :func:`conformance` and return what came of each."""
    return [attempt(check) for check in conformance(component, victim=victim, **parameters)]


def attempt(check: Check) -> Result:
    """Run one check; nothing that a component raises gets through."""
    try:
        check()
    except NotApplicable as reason:
        return Result(check.name, "not applicable", str(reason))
    except NotTried as reason:
        return Result(check.name, "not tried", str(reason))
    except RobenchError as error:
        return Result(check.name, "failed", str(error))
    except Exception as error:  # a component may raise anything
        frames = traceback.extract_tb(error.__traceback__)
        # Of what fails on a pretended GPU, the line that a plugin's author can change.
        told = [frame for frame in frames if not any(part in frame.filename for part in _NOT_TOLD)] or frames
        where = f"{told[-1].filename}, line {told[-1].lineno}"
        return Result(check.name, "failed", f"{check.subject.name} raised {type(error).__name__}: {error} ({where}).")
    return Result(check.name, "passed")


def _checks(subject: Subject) -> Checks:
    from robench.testing import (
        attack_checks,
        certificate_checks,
        dataset_checks,
        declaration_checks,
        defense_checks,
        detector_checks,
        model_checks,
    )

    in_parts = isinstance(subject.component, Attack) and subject.component.asks_in_parts
    of_role: dict[type[Component], Checks] = {
        Dataset: dataset_checks.CHECKS,
        Model: model_checks.CHECKS,
        Attack: attack_checks.CHECKS | (attack_checks.IN_PARTS if in_parts else {}),
        Defense: defense_checks.CHECKS,
        Certificate: certificate_checks.CHECKS,
        Detector: detector_checks.CHECKS,
    }
    found = [checks for base, checks in of_role.items() if isinstance(subject.component, base)]
    require(
        len(found) == 1,
        f"{subject.name} is no Dataset, Model, Attack, Defense, Certificate or Detector; derive it from one of these "
        "(from robench import ...).",
    )
    return {**declaration_checks.CHECKS, **found[0]}
