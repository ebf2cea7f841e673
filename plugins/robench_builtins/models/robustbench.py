"""The robust models of RobustBench."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from robench import Model, SpecError, Task, parameter
from robench_builtins.models.shared.robustbench_zoo import find

if TYPE_CHECKING:
    from robench import Classifier


class RobustBench(Model):
    """Load a model of RobustBench's zoo: ``robustbench:Carmon2019Unlabeled``, ``robustbench:cifar100/Linf/NAME``.

    The networks are defined here (WideResNet, DeepMind's variants, ResNet and pre-activation ResNet for CIFAR; those of
    torchvision for ImageNet), so that no package of RobustBench is needed. Weights are read as tensors alone, from
    ``checkpoint`` or from the zoo's files on Google Drive, which have no checksum; a folder of RobustBench's own has
    them under the same names. The stated clean accuracy is checked by the gate.
    """

    name = "robustbench"
    source = (
        "Croce et al. 2021, RobustBench: a standardized adversarial robustness benchmark (NeurIPS Datasets and "
        "Benchmarks), https://arxiv.org/abs/2010.09670; the authors of each model are in its name."
    )
    licence = "MIT by default; Ding2020MMA: CC BY-NC-SA 4.0; DeepMind's (Gowal, Rebuffi): Apache-2.0"

    model: str = parameter(default="", help="name as RobustBench lists it, such as Carmon2019Unlabeled")
    data: Literal["cifar10", "cifar100", "imagenet"] = parameter(default="cifar10", help="what it was trained on")
    threat: Literal["Linf", "L2", "corruptions"] = parameter(
        default="Linf", help="the threat model that it was made for: its folder in the zoo"
    )
    checkpoint: str = parameter(default="", help="local file in place of the zoo's (.pt or .safetensors)", path=True)

    def __post_init__(self) -> None:
        """Refuse a model that the zoo has not, and take over what it states."""
        if self.model:
            entry = find(self.data, self.threat, self.model)
            stated = {} if entry.clean is None else {self.data: entry.clean}
            object.__setattr__(self, "reference", stated)

    @classmethod
    def shorthand(cls, text: str) -> dict[str, str] | None:
        """Read ``robustbench:NAME`` and ``robustbench:DATA/THREAT/NAME``."""
        word, colon, rest = text.partition(":")
        if not colon or word != cls.name:
            return None
        parts = rest.split("/")
        if len(parts) == 3:
            return {"data": parts[0], "threat": parts[1], "model": parts[2]}
        return {"model": rest}

    def files(self) -> tuple[Path, ...]:
        """Return the local weights, if some are named."""
        return (Path(self.checkpoint).expanduser(),) if self.checkpoint else ()

    def load(self, task: Task) -> Classifier:
        """Return the network behind its normalisation; images go in at the resolution of its data."""
        if not self.model:
            raise SpecError(
                "robustbench needs a model; write robustbench:NAME, such as robustbench:Carmon2019Unlabeled."
            )
        from robench_builtins.models.shared.robustbench_checkpoint import load

        return load(find(self.data, self.threat, self.model), next(iter(self.files()), None), task)
