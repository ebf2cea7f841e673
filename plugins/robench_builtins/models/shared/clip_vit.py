"""What OpenAI's CLIP models have in common, which transformers builds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robench import Task, parameter
from robench_builtins.models.shared.zero_shot import Prompted

if TYPE_CHECKING:
    from robench import Classifier

PAPER = "Radford et al., Learning Transferable Visual Models From Natural Language Supervision (ICML 2021)."


class ClipVit(Prompted):
    """Load a CLIP checkpoint of transformers as a zero-shot classifier; a subclass says which by default."""

    checkpoint: str = parameter(default="", help="Hugging Face id or local folder of a CLIP checkpoint", path=True)
    resolution: int | None = parameter(
        default=None, help="side in pixels of the tower's input, to which its positions are interpolated", minimum=1
    )

    def files(self) -> tuple[Path, ...]:
        """Return the checkpoint's folder, if it is a local one."""
        folder = Path(self.checkpoint).expanduser()
        return (folder,) if folder.is_dir() else ()

    def load(self, task: Task) -> Classifier:
        """Return the zero-shot classifier whose head is the prompts of the task's classes."""
        from robench_builtins.models.shared.transformers_clip import load_clip

        local = self.files()
        checkpoint = str(local[0]) if local else self.checkpoint
        return load_clip(checkpoint, task, self.prompts(task), self.resolution)
