"""Attacks of the Adversarial Robustness Toolbox."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

from robench_builtins.attacks.shared.library_attack import LibraryAttack

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Task

#: Attacks without a parameter ``norm``, and the norm that they bound or minimise.
NORMS = {
    "BasicIterativeMethod": "Linf", "CarliniL2Method": "L2", "CarliniLInfMethod": "Linf", "DeepFool": "L2",
    "NewtonFool": "L2", "SimBA": "L2", "ZooAttack": "L2", "BoundaryAttack": "L2",
}  # fmt: skip
#: Attacks that look for the smallest perturbation and know no radius; their images are clipped to the run's.
MINIMISING = (
    "BoundaryAttack", "CarliniL2Method", "CarliniLInfMethod", "DeepFool", "GeoDA", "HopSkipJump", "NewtonFool",
    "SignOPTAttack", "SimBA", "ZooAttack",
)  # fmt: skip


class ART(LibraryAttack):
    """Run an evasion attack of the Adversarial Robustness Toolbox: ``art:AutoConjugateGradient[max_iter=50]``.

    Norm and radius are the run's, to which those that minimise a distance are clipped; ART's own step sizes are for a
    radius of 0.3: give ``eps_step`` beside a small one.
    """

    name = "art"
    source = "Nicolae et al. 2018, Adversarial Robustness Toolbox, https://arxiv.org/abs/1807.01069"
    version = 2
    licence = "MIT"
    library: ClassVar[str] = "art"
    package: ClassVar[str] = "adversarial-robustness-toolbox"
    asking: ClassVar[tuple[str, ...]] = (
        "BoundaryAttack", "GeoDA", "HopSkipJump", "SignOPTAttack", "SimBA", "SquareAttack", "ZooAttack",
    )  # fmt: skip
    given: ClassVar[tuple[str, ...]] = (
        "estimator", "classifier", "eps", "norm", "batch_size", "verbose", "targeted", "summary_writer",
    )  # fmt: skip

    def classes(self) -> dict[str, type]:
        """Return the library's evasion attacks by name."""
        from art.attacks import EvasionAttack, evasion

        found = {name: kind for name, kind in vars(evasion).items() if inspect.isclass(kind)}
        return {name: kind for name, kind in found.items() if issubclass(kind, EvasionAttack)}

    def norms_of(self) -> tuple[str, ...]:
        """Return both where the class takes a norm, else its own."""
        if "norm" in inspect.signature(self.kind()).parameters:
            return ("Linf", "L2")
        return (NORMS[self.attack],) if self.attack in NORMS else ()

    def move(self, model: Any, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the library's images, which go there and back as NumPy arrays."""
        import torch

        known = inspect.signature(self.kind()).parameters
        run = {
            "eps": task.threat.eps, "norm": {"Linf": "inf", "L2": 2}[task.threat.norm], "batch_size": len(images),
            "verbose": False, "targeted": False,
        }  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ART calls NumPy and torch in ways that they deprecate
            from art.estimators.classification import PyTorchClassifier

            seen = PyTorchClassifier(
                model, torch.nn.CrossEntropyLoss(), tuple(images.shape[1:]), len(task.classes), clip_values=(0.0, 1.0),
                device_type="cpu" if images.device.type == "cpu" else "gpu",
            )  # fmt: skip
            given = {name: run[name] for name in run if name in known}
            attack = self.kind()(seen, **given, **self.settings())
            moved = torch.from_numpy(attack.generate(x=images.cpu().numpy(), y=labels.cpu().numpy()))
        if self.attack in MINIMISING:
            return task.threat.project(images, moved.to(images))
        return moved
