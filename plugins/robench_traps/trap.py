"""How the traps and controls here are written down: by the part that makes each what it is."""

from __future__ import annotations

import inspect
from typing import Any

from robench import Attack, Certificate, Control, Dataset, Defense, Model, Trap

Part = type[Dataset] | type[Model] | type[Attack] | type[Defense] | type[Certificate]


def trap(
    part: Part,
    *expected: str,
    refusal: str = "",
    alongside: tuple[Part, ...] = (),
    batch_size: int | None = None,
    **request: Any,
) -> Trap:
    """Return the trap whose name, story and case are those of the ``part`` with the mistake."""
    return Trap(
        name=part.name, story=summary_of(part), case=part.source, parts=(part, *alongside), request=request,
        expected=expected,
        refusal=refusal, batch_size=batch_size,
    )  # fmt: skip


def control(part: Part, alongside: tuple[Part, ...] = (), **request: Any) -> Control:
    """Return the honest evaluation of ``part``."""
    return Control(name=part.name, story=summary_of(part), case=part.source, parts=(part, *alongside), request=request)


def summary_of(part: Part) -> str:
    """Return the first paragraph of the docstring on one line."""
    return " ".join((inspect.getdoc(part) or "").partition("\n\n")[0].split())
