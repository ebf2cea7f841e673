"""Any image classifier of the library timm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import Task
from robench_builtins.downloads import hub_weights
from robench_builtins.models.shared.library_model import LibraryModel
from robench_builtins.models.shared.optional_dependencies import lacking, needed

if TYPE_CHECKING:
    from robench import Classifier


class Timm(LibraryModel):
    """Load an image classifier of timm by name, with or without its published weights: ``timm:resnet50.a1_in1k``.

    Resizing, cropping and normalisation are those of timm's data configuration, and happen inside. The weights' classes
    must be the dataset's, in its order; ``head=new`` draws a last layer for the dataset's classes. ``checkpoint`` is a
    state dict (.safetensors or .pt) of this architecture, or a folder as timm saves one for the hub.
    """

    name = "timm"
    version = 2  # pixels are held to those of the library's own preprocessing
    source = "Wightman, PyTorch Image Models (github.com/huggingface/pytorch-image-models); each model cites its paper."
    licence = "timm: Apache-2.0; the weights: each model's own, on its page of huggingface.co/timm"
    typed = "timm:NAME"

    def missing(self) -> tuple[str, ...]:
        """Return what to download, unless the weights are in the hub's cache, and the library where it is absent."""
        if absent := lacking("timm", "timm", "timm models"):
            return (absent,)
        if self.checkpoint or not self.pretrained or not self.model:
            return ()
        from robench_builtins.models.shared.timm_network import repository

        found = repository(self.model)
        return hub_weights(found, parameter="victim.checkpoint=FILE") if found else ()

    def build(self, task: Task) -> Classifier:
        """Return timm's network behind its preprocessing."""
        needed("timm", "timm", "timm models")
        from robench_builtins.models.shared.timm_network import build

        return build(self, task)
