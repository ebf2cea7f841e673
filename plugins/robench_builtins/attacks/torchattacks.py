"""Attacks of the library torchattacks."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

from robench_builtins.attacks.shared.library_attack import LibraryAttack

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Task

#: Attacks that take no ``norm`` and work in L2; and those that change few pixels by any amount, which is L0.
L2, SPARSE = ("CW", "DeepFool", "PGDL2", "PGDRSL2"), ("JSMA", "OnePixel", "Pixle", "SparseFool")


class Torchattacks(LibraryAttack):
    """Run an attack of torchattacks: ``torchattacks:MIFGSM[decay=0.9,steps=20]``.

    Norm and radius are the run's; any other parameter of the class may be given in brackets, and has the library's own
    default. Attacks that minimise the distance (CW, DeepFool) or know no number of pixels (JSMA, Pixle, SparseFool)
    are projected onto the ball as they come.
    """

    name = "torchattacks"
    source = "Kim 2020, Torchattacks: A PyTorch Repository for Adversarial Attacks, https://arxiv.org/abs/2010.01950"
    licence = "MIT"
    library: ClassVar[str] = "torchattacks"
    package: ClassVar[str] = "torchattacks"
    given: ClassVar[tuple[str, ...]] = ("model", "eps", "norm", "n_classes", "pixels")

    def classes(self) -> dict[str, type]:
        """Return the library's attacks by name."""
        import torchattacks
        from torchattacks.attack import Attack as Base

        found = {name: kind for name, kind in vars(torchattacks).items() if inspect.isclass(kind)}
        return {name: kind for name, kind in found.items() if issubclass(kind, Base) and kind is not Base}

    def norms_of(self) -> tuple[str, ...]:
        """Return both where the class takes a norm, else its own."""
        if "norm" in inspect.signature(self.kind()).parameters:
            return ("Linf", "L2")
        return ("L0",) if self.attack in SPARSE else ("L2",) if self.attack in L2 else ("Linf",)

    def move(self, model: Any, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the library's images."""
        known = inspect.signature(self.kind()).parameters
        run = {"eps": task.threat.eps, "norm": task.threat.norm, "n_classes": len(task.classes)}
        if task.threat.norm == "L0":
            run["pixels"] = int(task.threat.eps)
        attack = self.kind()(model, **{name: run[name] for name in run if name in known}, **self.settings())
        attack.set_device(images.device)
        moved: Tensor = attack(images, labels)
        return moved
