"""ResNet-20 for CIFAR-10, from the torch hub or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from robench import Model, Task, WeightsError, parameter
from robench_builtins.network import offline

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier

URL = "https://github.com/chenyaofo/pytorch-cifar-models/releases/download/resnet/cifar10_resnet20-4118986f.pt"

#: Mean and standard deviation by the data whose statistics they are.
STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class ResNet20(Model):
    """Load a ResNet-20 trained on CIFAR-10 (270,000 parameters), the usual surrogate of transfer attacks.

    Two layouts are read: chenyaofo's (the torch hub's; 1x1 convolutions as shortcuts, head ``fc``) and akamaster's
    (parameter-free shortcuts, head ``linear``). Each was trained with a normalisation of its own.
    """

    name = "resnet20"
    source = (
        "He et al., Deep Residual Learning for Image Recognition (CVPR 2016); weights of "
        "chenyaofo/pytorch-cifar-models, cifar10_resnet20-4118986f.pt."
    )
    licence = "BSD-3-Clause"
    # 92.60 % for the hub's file, 91.73 % for akamaster's: the tolerance covers both, a wrong normalisation neither.
    reference = {"cifar10": 0.92}
    reference_tolerance = 0.015

    checkpoint: str = parameter(default="", help="weights as .safetensors or .pt; empty: those of the torch hub")
    normalisation: Literal["auto", "cifar10", "imagenet"] = parameter(
        default="auto", help="statistics of the input normalisation; auto: those the file's layout was trained with"
    )

    def files(self) -> tuple[Path, ...]:
        """Return the file, if a local one is named."""
        return (Path(self.checkpoint).expanduser(),) if self.checkpoint else ()

    def load(self, task: Task) -> Classifier:
        """Return the classifier; the file's number of classes must be the task's."""
        from robench import Classifier, Preprocess
        from robench_builtins.models.resnet_cifar import CifarResNet, Option
        from robench_builtins.models.state import plain_state, read_state

        place = self.checkpoint or URL
        local = read_state(self.files()[0], "victim.checkpoint") if self.checkpoint else None
        state = local if local is not None else plain_state(_download(), place)
        option: Option = "A" if "linear.weight" in state else "B"
        head = state.get("linear.weight", state.get("fc.weight"))
        if head is None or "conv1.weight" not in state:
            raise WeightsError(
                f"{place} holds no CIFAR ResNet-20: conv1.weight and fc.weight or linear.weight were expected, "
                f"and it has {_few(state)}."
            )
        if len(head) != len(task.classes):
            raise WeightsError(
                f"{place} tells {len(head)} classes apart, but the dataset has {len(task.classes)}; name weights "
                "trained on these classes with -p victim.checkpoint=FILE, or another model."
            )
        network = CifarResNet(len(head), option)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise WeightsError(
                f"{place} is laid out almost, but not quite, as a CIFAR ResNet-20 with {_few(state)} ({reason[:300]}); "
                "ResNets of other depths or widths are other models."
            ) from error
        named = self.normalisation if self.normalisation != "auto" else {"A": "imagenet", "B": "cifar10"}[option]
        mean, std = STATISTICS[named]
        return Classifier(network.float(), len(head), Preprocess(mean, std, size=32)).eval()


def _download() -> Any:
    from torch.hub import get_dir, load_state_dict_from_url

    cached = Path(get_dir()) / "checkpoints" / Path(URL).name
    if offline() and not cached.is_file():
        raise WeightsError(
            f"ResNet-20's weights are not at {cached} and the run is offline; download {URL}, put it there or "
            "pass -p victim.checkpoint=FILE."
        )
    try:
        return load_state_dict_from_url(URL, map_location="cpu", check_hash=True, weights_only=True, progress=False)
    except Exception as error:  # the network, the disk and a wrong hash each raise their own kinds
        raise WeightsError(
            f"ResNet-20's weights could not be downloaded ({error}); download {URL} elsewhere and pass "
            "-p victim.checkpoint=FILE."
        ) from error


def _few(state: dict[str, Tensor]) -> str:
    names = list(state)
    return f"{len(names)} tensors ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})"
