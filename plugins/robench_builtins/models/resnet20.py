"""The CIFAR ResNets of 20 to 56 layers, from the torch hub, from a file, or drawn to be trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from robench import Task, WeightsError, parameter
from robench_builtins.downloads import torch_hub_file
from robench_builtins.models.shared.from_scratch import TrainableModel, drawn
from robench_builtins.models.shared.normalisation import STATISTICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from robench import Classifier
    from robench_builtins.models.shared.cifar_resnet import CifarResNet

RELEASE = "https://github.com/chenyaofo/pytorch-cifar-models/releases/download/resnet/"


class ResNet20(TrainableModel):
    """Load a ResNet-20 trained on CIFAR-10 (270,000 parameters), the usual surrogate of transfer attacks.

    Two layouts are read: chenyaofo's (the torch hub's; 1x1 convolutions as shortcuts, head ``fc``) and akamaster's
    (parameter-free shortcuts, head ``linear``). Each was trained with a normalisation of its own. ``weights=none``
    draws the weights, for any number of classes, and trains them on the dataset.
    """

    name = "resnet20"
    source = (
        "He et al., Deep Residual Learning for Image Recognition (CVPR 2016); weights of "
        "chenyaofo/pytorch-cifar-models, cifar10_resnet20-4118986f.pt."
    )
    licence = "BSD-3-Clause"
    # On CIFAR-10 92.60 % for the hub's file, 91.73 % for akamaster's: the tolerance covers both, a wrong
    # normalisation neither.
    reference = {"cifar10": 0.92, "cifar100": 0.6883}
    reference_tolerance = 0.015

    #: Residual blocks a stage; there are 6 layers a block, and two more.
    blocks: ClassVar[int] = 3
    #: The hub's files by what they were trained on; the end of a name is the beginning of the file's hash.
    published: ClassVar[Mapping[str, str]] = {
        "cifar10": "cifar10_resnet20-4118986f.pt",
        "cifar100": "cifar100_resnet20-23dac2f1.pt",
    }

    checkpoint: str = parameter(
        default="", help="weights as .safetensors or .pt; empty: those that weights names", path=True
    )
    weights: Literal["cifar10", "cifar100", "none"] = parameter(
        default="cifar10",
        help="weights of the torch hub, by what they were trained on; none: drawn and trained on the dataset",
    )
    normalisation: Literal["auto", "cifar10", "cifar100", "imagenet"] = parameter(
        default="auto", help="statistics of the input normalisation; auto: those the file's layout was trained with"
    )
    # Training as in section 4.2 of the paper, with a cosine in place of two steps.
    epochs: int = parameter(default=182, help="training: passes over the training images", minimum=1)
    optimizer: Literal["adamw", "adam", "sgd"] = parameter(default="sgd", help="training: update rule")
    learning_rate: float = parameter(default=0.1, help="training: learning rate at the start", minimum=0)
    schedule: Literal["constant", "cosine", "plateau"] = parameter(
        default="cosine",
        help="training: learning rate; cosine: to 0 over the updates; plateau: halved where validation stands still",
    )
    augmentation: Literal["none", "flip", "crop+flip"] = parameter(
        default="crop+flip",
        help="training: flip mirrors half of the images; crop+flip also shifts each by up to an eighth of its side",
    )

    def files(self) -> tuple[Path, ...]:
        """Return the file, if a local one is named."""
        return (Path(self.checkpoint).expanduser(),) if self.checkpoint else ()

    def untrained(self) -> bool:
        """Tell whether the weights are drawn."""
        return not self.checkpoint and self.weights == "none"

    def missing(self) -> tuple[str, ...]:
        """Return what to download, unless the hub's file is in torch's cache."""
        if self.checkpoint or self.untrained():
            return ()
        url = self.url(self.weights)
        place = torch_hub_file(self.published[self.weights])
        return () if place.is_file() else (f"weights of {self.title} ({url}, a few MB): to {place}.",)

    def load(self, task: Task) -> Classifier:
        """Return the classifier; the file's number of classes must be the task's."""
        from robench import Classifier, Preprocess

        network, auto = self._drawn(task) if self.untrained() else self._read(task)
        mean, std = STATISTICS[self.normalisation if self.normalisation != "auto" else auto]
        return Classifier(network.float(), len(task.classes), Preprocess(mean, std, size=32)).eval()

    @classmethod
    def url(cls, data: str = "cifar10") -> str:
        """Return where the hub's weights are."""
        return RELEASE + cls.published[data]

    @property
    def title(self) -> str:
        """Return the network's usual name."""
        return f"ResNet-{6 * self.blocks + 2}"

    def _drawn(self, task: Task) -> tuple[CifarResNet, str]:
        """Return a network with drawn weights, and the statistics of its normalisation."""
        from robench_builtins.models.shared.cifar_resnet import CifarResNet, draw

        with drawn(task):
            network = CifarResNet(len(task.classes), "B", self.blocks)
            network.apply(draw)
        return network, "cifar10"

    def _read(self, task: Task) -> tuple[CifarResNet, str]:
        """Return a network with the file's or the hub's weights, and the statistics they were trained with."""
        from robench_builtins.models.shared.cifar_resnet import CifarResNet, Option
        from robench_builtins.models.shared.state_dict import fetch_state, read_state

        place = self.checkpoint or self.url(self.weights)
        local = read_state(self.files()[0], "victim.checkpoint") if self.checkpoint else None
        state = local if local is not None else fetch_state(place, self.title)
        task.note(state.noted(place))
        option: Option = "A" if "linear.weight" in state else "B"
        head = state.get("linear.weight", state.get("fc.weight"))
        if head is None or "conv1.weight" not in state:
            raise WeightsError(
                f"{place} holds no CIFAR {self.title}: conv1.weight and fc.weight or linear.weight were expected, "
                f"and it has {_few(state)}."
            )
        if len(head) != len(task.classes):
            raise WeightsError(
                f"{place} tells {len(head)} classes apart, but the dataset has {len(task.classes)}; name weights "
                "trained on these classes with -p victim.checkpoint=FILE, or another model."
            )
        network = CifarResNet(len(head), option, self.blocks)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise WeightsError(
                f"{place} is laid out almost, but not quite, as a CIFAR {self.title} with {_few(state)} "
                f"({reason[:300]}); ResNets of other depths or widths are other models."
            ) from error
        return network, "imagenet" if option == "A" else "cifar100" if len(head) == 100 else "cifar10"


class ResNet32(ResNet20):
    """Load a ResNet-32 trained on CIFAR-10 (467,000 parameters); as resnet20, deeper."""

    name = "resnet32"
    source = ResNet20.source.replace("cifar10_resnet20-4118986f", "cifar10_resnet32-ef93fc4d")
    # On CIFAR-10 93.53 % for the hub's file, 92.63 % for akamaster's.
    reference = {"cifar10": 0.9308, "cifar100": 0.7016}
    blocks = 5
    published = {"cifar10": "cifar10_resnet32-ef93fc4d.pt", "cifar100": "cifar100_resnet32-84213ce6.pt"}


class ResNet44(ResNet20):
    """Load a ResNet-44 trained on CIFAR-10 (661,000 parameters); as resnet20, deeper."""

    name = "resnet44"
    source = ResNet20.source.replace("cifar10_resnet20-4118986f", "cifar10_resnet44-2a3cabcb")
    # On CIFAR-10 94.01 % for the hub's file, 93.10 % for akamaster's.
    reference = {"cifar10": 0.9355, "cifar100": 0.7163}
    blocks = 7
    published = {"cifar10": "cifar10_resnet44-2a3cabcb.pt", "cifar100": "cifar100_resnet44-ffe32858.pt"}


class ResNet56(ResNet20):
    """Load a ResNet-56 trained on CIFAR-10 (856,000 parameters); as resnet20, deeper."""

    name = "resnet56"
    source = ResNet20.source.replace("cifar10_resnet20-4118986f", "cifar10_resnet56-187c023a")
    # On CIFAR-10 94.37 % for the hub's file, 93.39 % for akamaster's.
    reference = {"cifar10": 0.9388, "cifar100": 0.7263}
    blocks = 9
    published = {"cifar10": "cifar10_resnet56-187c023a.pt", "cifar100": "cifar100_resnet56-f2eff4c8.pt"}


def _few(state: dict[str, Tensor]) -> str:
    names = list(state)
    return f"{len(names)} tensors ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})"
