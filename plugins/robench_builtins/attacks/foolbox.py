"""Attacks of the library foolbox."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

from robench_builtins.attacks.shared.library_attack import LibraryAttack

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Task


class Foolbox(LibraryAttack):
    """Run an attack of foolbox: ``foolbox:LinfDeepFoolAttack[steps=100]``.

    Attacks with a radius get the run's; those that minimise the distance are clipped to it by the library.
    """

    name = "foolbox"
    source = "Rauber et al. 2020, Foolbox Native, Journal of Open Source Software 5(53)"
    licence = "MIT"
    library: ClassVar[str] = "foolbox"
    package: ClassVar[str] = "foolbox"

    def classes(self) -> dict[str, type]:
        """Return the library's attacks by name."""
        import foolbox
        from foolbox.attacks.base import Attack as Base

        found = {name: kind for name, kind in vars(foolbox.attacks).items() if inspect.isclass(kind)}
        return {name: kind for name, kind in found.items() if issubclass(kind, Base) and not inspect.isabstract(kind)}

    def norms_of(self) -> tuple[str, ...]:
        """Return the norm of the distance that the attack bounds or minimises."""
        distance = getattr(self.kind()(**self.settings()), "distance", None)
        norms = {float("inf"): ("Linf",), 2: ("L2",)}
        return norms.get(getattr(distance, "p", None), ())  # type: ignore[arg-type]  # an attack without a distance has none

    def move(self, model: Any, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the library's images, clipped to the ball by itself."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # foolbox calls NumPy, SciPy and torch in ways that they deprecate
            from foolbox.criteria import Misclassification
            from foolbox.models.pytorch import PyTorchModel

            seen = PyTorchModel(model, bounds=(0, 1), device=images.device)
            attack = self.kind()(**self.settings())
            _, clipped, _ = attack(seen, images, Misclassification(labels), epsilons=task.threat.eps)
        found: Tensor = clipped
        return found
