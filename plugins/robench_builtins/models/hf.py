"""Any image classifier or CLIP of transformers, by hub id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robench import Task, parameter
from robench_builtins.downloads import hub_weights
from robench_builtins.models.shared.checkpoint_places import local_folders, local_or_id, processor_elsewhere
from robench_builtins.models.shared.library_model import LibraryModel
from robench_builtins.models.shared.zero_shot import ZeroShotModel

if TYPE_CHECKING:
    from robench import Classifier


class HuggingFace(LibraryModel, ZeroShotModel):
    """Load an image classifier or CLIP of transformers by its hub id: ``hf:microsoft/resnet-50``.

    Resizing and normalisation are those of its image processor, and happen inside. An image classifier's logits are
    put into the dataset's order of classes where the names agree; ``head=new`` draws a last layer for the dataset's
    classes. A CLIP model is used zero-shot. ``checkpoint`` is a folder that save_pretrained wrote. Code in a repository
    is never run, and weights are read as tensors only.
    """

    name = "hf"
    version = 2  # pixels are held to those of the library's own preprocessing
    source = "transformers (Wolf et al., EMNLP 2020) and the Hugging Face hub; each model's page cites its paper."
    licence = "transformers: Apache-2.0; the weights: each model's own, on its page of the hub"
    typed = "hf:ORG/NAME"

    model: str = parameter(default="", help="hub id, or the folder of a checkpoint", path=True)
    processor: str = processor_elsewhere("model")

    @property
    def _weights(self) -> tuple[Path, ...]:
        return super().files() or local_folders(self.model)

    def files(self) -> tuple[Path, ...]:
        """Return the local folders, if the model (or the checkpoint) and the processor are some."""
        return (*self._weights, *local_folders(self.processor))

    def missing(self) -> tuple[str, ...]:
        """Return what to download, unless the model is a folder, drawn, or in the hub's cache."""
        return () if self._weights or not (self.model and self.pretrained) else hub_weights(self.model)

    def build(self, task: Task) -> Classifier:
        """Return the classifier of the hub's checkpoint, or of the local one."""
        from robench_builtins.models.shared.transformers_checkpoint import load_checkpoint

        return load_checkpoint(
            str(self._weights[0]) if self._weights else self.model,
            task,
            self.prompts(task),
            interpolation=self.interpolation,
            resolution=self.resolution,
            processor=local_or_id(self.processor),
            start="drawn" if not self.pretrained else "new head" if self.head == "new" else "weights",
        )
