"""Zero-shot models: the prompts of their head, and the CLIPs that transformers builds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from robench import Model, Task, parameter
from robench_builtins.downloads import hub_weights
from robench_builtins.models.shared.checkpoint_places import local_folders, local_or_id, processor_elsewhere

if TYPE_CHECKING:
    from robench import Classifier

#: What OpenAI's CLIPs are cited by.
PAPER = "Radford et al., Learning Transferable Visual Models From Natural Language Supervision (ICML 2021)."


class ZeroShotModel(Model):
    """Classify by the prompts of the classes; several templates are an ensemble.

    Of an ensemble, the head holds for each class the mean of the normalised text features, normalised again (Radford
    et al., ICML 2021, section 3.1.4).
    """

    template: str = parameter(
        default="",
        help="prompt with {} for the class name, or an ensemble of several, | between them; empty: the dataset's first",
    )
    ensemble: bool = parameter(default=False, help="average the text features of all the dataset's templates")

    def prompts(self, task: Task) -> list[str]:
        """Return the templates to be averaged; one, unless an ensemble is asked for."""
        if self.template:
            return [template.strip() for template in self.template.split("|")]
        return list(task.templates) if self.ensemble else [task.templates[0]]


class ClipVit(ZeroShotModel):
    """Load a CLIP checkpoint of transformers as a zero-shot classifier; a subclass says which by default."""

    version = 2  # the checkpoint's own crop is made, not only its statistics
    #: Size of the weights, by the hub id of the checkpoint.
    sizes: ClassVar[Mapping[str, str]] = {
        "openai/clip-vit-base-patch32": "605 MB",
        "openai/clip-vit-base-patch16": "599 MB",
        "openai/clip-vit-large-patch14": "1.7 GB",
    }
    checkpoint: str = parameter(default="", help="Hugging Face id or local folder of a CLIP checkpoint", path=True)
    resolution: int | None = parameter(
        default=None, help="side in pixels of the tower's input, to which its positions are interpolated", minimum=1
    )
    processor: str = processor_elsewhere("checkpoint")

    def files(self) -> tuple[Path, ...]:
        """Return the folders of checkpoint and processor, if they are local ones."""
        return local_folders(self.checkpoint, self.processor)

    def missing(self) -> tuple[str, ...]:
        """Return what to download, unless the checkpoint is a folder or in the hub's cache."""
        if not self.checkpoint or local_folders(self.checkpoint):
            return ()
        return hub_weights(self.checkpoint, self.sizes.get(self.checkpoint, ""))

    def load(self, task: Task) -> Classifier:
        """Return the zero-shot classifier whose head is the prompts of the task's classes."""
        from robench_builtins.models.shared.transformers_clip import load_clip

        checkpoint, processor = local_or_id(self.checkpoint), local_or_id(self.processor)
        return load_clip(checkpoint, task, self.prompts(task), self.resolution, processor)
