"""A local transformers checkpoint that the user brings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from robench import Model, SpecError, Task, WeightsError, parameter
from robench_builtins.models.shared.checkpoint_places import local_folders, local_or_id, processor_elsewhere

if TYPE_CHECKING:
    from robench import Classifier


class HfDir(Model):
    """Load a local transformers checkpoint, an image classifier or a CLIP model: ``hf-dir:FOLDER``.

    Resizing and normalisation are those of the folder's image processor, and happen inside. An image classifier's
    logits are put into the dataset's order of classes where the names agree; a CLIP model is used zero-shot. Code in
    the folder is never run, and weights are read as tensors only.
    """

    name = "hf-dir"
    version = 2  # pixels are held to those of the library's own preprocessing
    source = "the user's own model"
    licence = "the model's own"

    path: str = parameter(
        default="", help="the folder that save_pretrained wrote, with the processor's files", path=True
    )
    template: str = parameter(default="", help="CLIP: prompt with {} for the class name; empty: the dataset's first")
    interpolation: Literal["processor", "bicubic", "bilinear"] = parameter(
        default="processor", help="how images are resized; processor: as the folder's processor does"
    )
    processor: str = processor_elsewhere("model")

    @classmethod
    def shorthand(cls, text: str) -> dict[str, str] | None:
        """Read ``hf-dir:FOLDER``."""
        word, colon, path = text.partition(":")
        return {"path": path} if colon and word == cls.name else None

    def files(self) -> tuple[Path, ...]:
        """Return the folder, and the processor's if that is another one."""
        return ((Path(self.path).expanduser(),) if self.path else ()) + local_folders(self.processor)

    def load(self, task: Task) -> Classifier:
        """Return the classifier of the folder's checkpoint."""
        if not self.path:
            raise SpecError("hf-dir needs a folder; write hf-dir:FOLDER.")
        folder = Path(self.path).expanduser()
        if not (folder / "config.json").is_file():
            what = "holds no config.json" if folder.is_dir() else "is no folder"
            raise WeightsError(
                f"hf-dir: {folder} {what}; name the folder that save_pretrained wrote (hub ids are "
                "written hf:ORG/NAME)."
            )
        from robench_builtins.models.shared.transformers_checkpoint import load_checkpoint

        return load_checkpoint(
            str(folder),
            task,
            [self.template or task.templates[0]],
            interpolation=self.interpolation,
            processor=local_or_id(self.processor),
        )
