"""Any image classifier of torchvision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import Task, parameter
from robench_builtins.downloads import torch_hub_file
from robench_builtins.models.shared.library_model import LibraryModel

if TYPE_CHECKING:
    from robench import Classifier


class Torchvision(LibraryModel):
    """Load an image classifier of torchvision by name, with or without its ImageNet weights: ``torchvision:resnet18``.

    Resizing, cropping and normalisation are the weights' own transforms, and happen inside. The weights' classes must
    be the dataset's, in its order; ``head=new`` draws a last layer for the dataset's classes. ``checkpoint`` is a
    state dict (.safetensors or .pt) of this architecture; that of an Inception-v3 or GoogLeNet is taken to have been
    trained on torchvision's input statistics. Auxiliary classifiers are left out.
    """

    name = "torchvision"
    source = "torchvision.models (github.com/pytorch/vision); each model cites its paper."
    licence = (
        "torchvision: BSD-3-Clause; the weights: trained on ImageNet, whose terms apply (SWAG weights: CC-BY-NC 4.0)"
    )
    typed = "torchvision:NAME or torchvision:NAME/WEIGHTS"

    weights: str = parameter(
        default="DEFAULT", help="which published weights, such as IMAGENET1K_V1; DEFAULT: the best"
    )

    @classmethod
    def shorthand(cls, text: str) -> dict[str, str] | None:
        """Read ``torchvision:NAME`` and ``torchvision:NAME/WEIGHTS``."""
        given = super().shorthand(text)
        if given is None or "/" not in given["model"]:
            return given
        model, _, weights = given["model"].partition("/")
        return {"model": model, "weights": weights}

    def missing(self) -> tuple[str, ...]:
        """Return what to download, unless the weights' file is in torch's cache."""
        if self.checkpoint or not self.pretrained or not self.model:
            return ()
        from robench_builtins.models.shared.torchvision_network import address

        url, megabytes = address(self, self.weights)
        place = torch_hub_file(url.rpartition("/")[2])
        return () if not url or place.is_file() else (f"weights of {self.place} ({url}, {megabytes}): to {place}.",)

    def build(self, task: Task) -> Classifier:
        """Return torchvision's network behind its preprocessing."""
        from robench_builtins.models.shared.torchvision_network import build

        return build(self, self.weights, task)
