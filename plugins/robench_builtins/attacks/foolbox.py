"""Attacks of the library foolbox."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from robench_builtins.attacks.shared.library_attack import LibraryAttack

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Task


#: Label-only attacks that begin at noise that fools the model, and end for the whole batch where there is none.
WALKS = ("BoundaryAttack", "HopSkipJumpAttack")


class Foolbox(LibraryAttack):
    """Run an attack of foolbox: ``foolbox:LinfDeepFoolAttack[steps=100]``.

    Label-only: ``foolbox:HopSkipJumpAttack[constraint=linf]`` (Chen et al. 2020), or ``constraint=l2`` in L2; it asks
    about 35,000 times an image, with ``steps=10`` about 2,500 times.

    Attacks with a radius get the run's; those that minimise the distance are clipped to it by the library.
    """

    name = "foolbox"
    source = "Rauber et al. 2020, Foolbox Native, Journal of Open Source Software 5(53)"
    version = 2
    licence = "MIT"
    library: ClassVar[str] = "foolbox"
    package: ClassVar[str] = "foolbox"
    asking: ClassVar[tuple[str, ...]] = (
        "BoundaryAttack", "HopSkipJumpAttack", "GenAttack", "PointwiseAttack", "SaltAndPepperNoiseAttack",
        "L2ContrastReductionAttack", "LinearSearchBlendedUniformNoiseAttack", "GaussianBlurAttack",
        "L2AdditiveGaussianNoiseAttack", "L2AdditiveUniformNoiseAttack", "LinfAdditiveUniformNoiseAttack",
        "L2RepeatedAdditiveGaussianNoiseAttack", "L2RepeatedAdditiveUniformNoiseAttack",
        "LinfRepeatedAdditiveUniformNoiseAttack",
    )  # fmt: skip

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
        from torch import cat

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # foolbox calls NumPy, SciPy and torch in ways that they deprecate
            from foolbox.criteria import Misclassification
            from foolbox.models.pytorch import PyTorchModel

            seen = PyTorchModel(model, bounds=(0, 1), device=images.device)
            attack = self.kind()(**self.settings())

            def clipped(images: Tensor, labels: Tensor) -> Tensor:
                found: Tensor = attack(seen, images, Misclassification(labels), epsilons=task.threat.eps)[1]
                return found

            if self.attack in WALKS:
                return cat([started(clipped, images[[row]], labels[[row]]) for row in range(len(images))])
            return clipped(images, labels)


def started(attack: Callable[[Tensor, Tensor], Tensor], image: Tensor, label: Tensor) -> Tensor:
    """Return what a walk along the boundary finds, or the image where no noise fools the model, so that none begins."""
    try:
        return attack(image, label)
    except ValueError as error:
        if "init_attack failed" not in str(error):
            raise
        return image.clone()
