"""What a trap is: one part with a mistake in it, the request that runs it, and what must catch it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from robench.contracts.certificate import Certificate
from robench.contracts.components import Attack, Dataset, Defense, Model

Part = type[Dataset] | type[Model] | type[Attack] | type[Defense] | type[Certificate]

#: What every trap runs unless it says otherwise: the digits, a small convolutional network that 8/255 fells
#: completely, and twenty steps of PGD.
USUAL: Mapping[str, Any] = {"dataset": "digits", "victim": "plain", "attack": "pgd", "eps": "8/255", "n": 100}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Hold one evaluation to judge.

    Attributes:
        name: what ``--only`` takes.
        story: one sentence on what is done.
        case: where it was published, as one would cite it; empty if it was not.
        parts: its own components; the first of a role is the one that is run.
        request: keywords of :func:`robench.run` that differ from the usual ones.
        batch_size: images at once, where the mistake depends on it.
        missing: returns why it cannot be run here, or nothing.
    """

    name: str
    story: str
    case: str = ""
    parts: tuple[Part, ...] = ()
    request: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int | None = None
    missing: Callable[[], str] = lambda: ""

    def asked(self) -> dict[str, Any]:
        """Return the whole request."""
        components: dict[str, Any] = {}
        for part in self.parts:
            components.setdefault(role_of(part), part.name)
        return {**USUAL, **components, **self.request}


@dataclass(frozen=True, kw_only=True)
class Trap(Evaluation):
    """Hold a wrong evaluation, whose number must not be ranked.

    Attributes:
        expected: names of checks, of which at least one must not pass.
        refusal: words of the sentence with which it may be refused instead.
    """

    expected: tuple[str, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class Control(Evaluation):
    """Hold an honest evaluation, which must come out VALID."""


def role_of(part: Part) -> str:
    """Return the role in which the harness takes the component; a model is a victim."""
    kinds: dict[str, type] = {
        "dataset": Dataset, "victim": Model, "attack": Attack, "defense": Defense, "certificate": Certificate,
    }  # fmt: skip
    return next(role for role, kind in kinds.items() if issubclass(part, kind))
