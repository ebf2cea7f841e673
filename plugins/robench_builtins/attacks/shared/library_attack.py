"""What the attacks of other libraries share: their own parameters, the norm, the model as they need it, and seeds."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from fractions import Fraction
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from robench import Attack, SpecError, ThreatModel, parameter, seeded_globally

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task

#: What libraries call the number of steps of an attack that walks.
STEPS = ("steps", "max_iter", "n_iter")
_ARGUMENT = re.compile(r"\s*(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<value>[^,]*?)\s*(?:,|$)")


class LibraryAttack(Attack):
    """Run an attack of another library; the harness projects, counts and judges what it returns like any other's.

    Args:
        attack: the name of its class.
        arguments: its own parameters.
    """

    undeclared: ClassVar[str] = "arguments"
    #: The module to import, the package to install, and what every constructor is given by the run.
    library: ClassVar[str]
    package: ClassVar[str]
    given: ClassVar[tuple[str, ...]] = ()
    #: The library's attacks that ask for answers alone: labels (HopSkipJump, boundary) or scores.
    asking: ClassVar[tuple[str, ...]] = ()

    attack: str = parameter(default="", help="the class of the library's attack, such as PGD")
    arguments: str = parameter(default="", help="the attack's own parameters, name=value,name=value")

    @classmethod
    def shorthand(cls, text: str) -> Mapping[str, str] | None:
        """Read ``LIBRARY:CLASS``."""
        word, colon, name = text.partition(":")
        return {"attack": name} if colon and word == cls.name else None

    def missing(self) -> tuple[str, ...]:
        """Return how to install the library where it is absent."""
        return () if find_spec(self.library) else (self._lacking(),)

    def check(self, threat: ThreatModel) -> None:
        """Raise SpecError for what the library has not, and for another norm than the attack works in."""
        self.settings()
        norms = self.norms_of()
        if threat.norm not in norms:
            works = f"works in {' and '.join(norms)}" if norms else "is held to no norm that robench measures"
            raise SpecError(f"{self._title} {works}, not in {threat.norm}; choose another --norm or attack.")

    @property
    def queries_only(self) -> bool:  # type: ignore[override]  # one class stands for attacks of both kinds
        """Tell whether the attack asks for answers and never for gradients."""
        return self.attack in self.asking

    @property
    def iterative(self) -> bool:
        """Tell whether it takes more than one step."""
        return self._steps() > 1

    def passes(self) -> tuple[int, int]:
        """Return as many passes as steps: what the library really takes is counted when it runs."""
        return self._steps(), self._steps()

    def kind(self) -> type:
        """Return the library's class; SpecError if there is none of that name."""
        if not self.attack:
            raise SpecError(f"{self.name} needs the name of an attack; write --attack {self.name}:PGD.")
        if not find_spec(self.library):
            raise SpecError(self._lacking())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a library's own imports are deprecated for is no matter of this run
            found = self.classes()
        if self.attack not in found:
            close = get_close_matches(self.attack, found, 3, 0.5)
            meant = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(sorted(found))}."
            raise SpecError(f"{self.package} has no attack '{self.attack}'; {meant}")
        return found[self.attack]

    def settings(self) -> dict[str, Any]:
        """Return the arguments as the library's signature types them; SpecError for one that it has not."""
        kind = self.kind()
        known = inspect.signature(kind).parameters
        own = {
            name: entry.default
            for name, entry in known.items()
            if entry.kind not in (entry.VAR_KEYWORD, entry.VAR_POSITIONAL) and name not in self.given
        }
        needs = [name for name, default in own.items() if default is inspect.Parameter.empty]
        if needs:
            raise SpecError(f"{self._title} needs {' and '.join(needs)}, which a run does not give an attack.")
        typed = self._typed()
        for name in typed:
            if name in self.given:
                raise SpecError(f"{self._title} is given {name} by the run (--eps, --norm, --n); leave it out.")
            if name not in own:
                close = get_close_matches(name, own, 1, 0.5)
                meant = f"did you mean {close[0]}?" if close else f"it has {', '.join(own) or 'none'}."
                raise SpecError(f"{self._title} has no parameter '{name}'; {meant}")
        return {name: self._value(name, text, own[name]) for name, text in typed.items()}

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return what the library makes of the images.

        Libraries draw for a whole batch from global generators, which are seeded here by the run's seed and the batch's
        images: the same command repeats the same images, another ``--batch-size`` draws others.
        """
        if task.threat.eps == 0:
            return images.clone()
        with seeded_globally(task.generator("library", *task.indices).initial_seed()):
            moved = self.move(_placed(model, images), images, labels, task)
        return moved.detach().to(images)

    def move(self, model: Any, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Call the library with ``model`` (an nn.Module, [0, 1] in, logits out)."""
        raise NotImplementedError

    def classes(self) -> dict[str, type]:
        """Return the library's attacks by name."""
        raise NotImplementedError

    def norms_of(self) -> tuple[str, ...]:
        """Return the norms that the attack works in."""
        raise NotImplementedError

    @property
    def _title(self) -> str:
        return f"{self.name}:{self.attack}"

    def _steps(self) -> int:
        known = inspect.signature(self.kind()).parameters
        values = {name: known[name].default for name in STEPS if name in known} | self.settings()
        return max((int(values[name]) for name in STEPS if isinstance(values.get(name), int)), default=1)

    def _typed(self) -> dict[str, str]:
        found: dict[str, str] = {}
        place = 0
        while place < len(self.arguments):
            match = _ARGUMENT.match(self.arguments, place)
            if match is None:
                raise SpecError(f"{self.name}.arguments is no list name=value,name=value: '{self.arguments}'.")
            found[match["name"]], place = match["value"], match.end()
        return found

    def _value(self, name: str, text: str, default: Any) -> Any:
        try:
            return _as(type(default), text)
        except (ValueError, KeyError, ZeroDivisionError):
            kind = "number" if isinstance(default, int | float) else type(default).__name__
            raise SpecError(f"{self._title} takes a {kind} as {name}, not '{text}'.") from None

    def _lacking(self) -> str:
        return (
            f"{self._title} cannot be run without the package {self.package}; install it with "
            f"'pip install {self.package}', or all attack libraries with 'pip install robench[attacks]'."
        )


def _as(kind: type, text: str) -> Any:
    """Return text as a library's default is typed: none, true and false, whole numbers, fractions such as 0.5/255."""
    if text.lower() == "none":
        return None
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    if kind is str:
        return text
    try:
        return int(text)
    except ValueError:
        pass
    try:
        top, _, bottom = text.partition("/")
        return float(Fraction(top) / Fraction(bottom or 1))
    except ValueError:
        if kind in (int, float):
            raise
        return text


def _placed(model: Any, like: Tensor) -> Any:
    """Return the model as a module with a parameter on its device, which is where libraries look for the device."""
    import torch
    from torch import nn

    class Placed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.place = nn.Parameter(torch.zeros(1, device=like.device), requires_grad=False)

        def forward(self, images: Tensor) -> Tensor:
            # Some libraries (ART's HopSkipJump) hand NumPy's float64 over.
            found: Tensor = model(images.float())
            return found

    return Placed().eval()
