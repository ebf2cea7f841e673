"""CLIP ViT-B/32 through transformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robench import Model, Task, parameter

if TYPE_CHECKING:
    from robench import Classifier


class ClipVitB32(Model):
    """Load OpenAI's CLIP ViT-B/32, or any CLIP checkpoint of transformers, as a zero-shot classifier."""

    name = "clip-vit-b32"
    source = "Radford et al., Learning Transferable Visual Models From Natural Language Supervision (ICML 2021)."
    licence = "MIT"
    # Zero-shot CIFAR-10, bicubic to 224: 89.06 (TeCoA, Mao et al. 2023), 88.06 (TGA-ZSR), 87.65 and 87.83 elsewhere,
    # after template and resize. QuickGELU forgotten gives 82.81, outside the tolerance.
    reference = {"cifar10": 0.8906}
    reference_tolerance = 0.02

    checkpoint: str = parameter(
        default="openai/clip-vit-base-patch32", help="Hugging Face id or local folder of a CLIP checkpoint"
    )
    template: str = parameter(default="", help="prompt with {} for the class name; empty: the dataset's first")
    ensemble: bool = parameter(default=False, help="average the text features of all the dataset's templates")

    def files(self) -> tuple[Path, ...]:
        """Return the checkpoint's folder, if it is a local one."""
        folder = Path(self.checkpoint).expanduser()
        return (folder,) if folder.is_dir() else ()

    def load(self, task: Task) -> Classifier:
        """Return the zero-shot classifier whose head is the prompts of the task's classes."""
        from robench_builtins.models.clip import load_clip

        local = self.files()
        templates = [self.template] if self.template else list(task.templates)
        return load_clip(
            str(local[0]) if local else self.checkpoint, task, templates if self.ensemble else templates[:1]
        )
