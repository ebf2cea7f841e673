"""Any CLIP of the library open_clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robench import SpecError, Task, parameter
from robench_builtins.downloads import hub_weights
from robench_builtins.models.shared.optional_dependencies import lacking, needed
from robench_builtins.models.shared.zero_shot import ZeroShotModel

if TYPE_CHECKING:
    from robench import Classifier


class OpenClip(ZeroShotModel):
    """Load a CLIP of open_clip as a zero-shot classifier: ``open_clip:ARCH/TAG``, such as ``open_clip:RN50/openai``.

    The tag says whether the weights were trained with QuickGELU, and the network is built so; asking for anything else
    is an error, since it costs accuracy without a word (CIFAR-10: 35.22 % for RN50 and 82.81 % for ViT-B-32, in place
    of 71.57 and 89.83 %). Resizing and normalisation are those of the tag, and happen inside.
    """

    name = "open_clip"
    version = 2  # a local file counts beside hf-hub:ORG/NAME too
    source = "Ilharco et al., OpenCLIP (2021, doi:10.5281/zenodo.5143773); each tag names its training data."
    licence = "open_clip: MIT; the weights: each tag's own"

    model: str = parameter(default="", help="architecture as open_clip names it, or hf-hub:ORG/NAME")
    weights: str = parameter(default="", help="tag of the weights, such as openai or laion2b_s34b_b79k")
    checkpoint: str = parameter(
        default="",
        help="local state dict (.safetensors, .pt), or a folder with open_clip_config.json, in place of them",
        path=True,
    )
    quick_gelu: bool | None = parameter(
        default=None, help="activation of a checkpoint without a tag; none: as the tag's weights were trained"
    )
    resolution: int | None = parameter(
        default=None, help="side in pixels of the tower's input, to which its positions are interpolated", minimum=1
    )

    @classmethod
    def shorthand(cls, text: str) -> dict[str, str] | None:
        """Read ``open_clip:ARCH/TAG``, ``open_clip:ARCH`` (with a checkpoint) and ``open_clip:hf-hub:ORG/NAME``."""
        word, colon, rest = text.partition(":")
        if not colon or word != cls.name:
            return None
        if rest.startswith("hf-hub:") or "/" not in rest:
            return {"model": rest}
        model, _, weights = rest.partition("/")
        return {"model": model, "weights": weights}

    def files(self) -> tuple[Path, ...]:
        """Return the local weights, if some are named."""
        return (Path(self.checkpoint).expanduser(),) if self.checkpoint else ()

    def missing(self) -> tuple[str, ...]:
        """Return what to download, unless the weights are in the hub's cache, and the library where it is absent."""
        if absent := lacking("open_clip", "open-clip-torch", "open_clip models"):
            return (absent,)
        if self.checkpoint or not self.model:
            return ()
        from robench_builtins.models.shared.open_clip_network import repository

        found = repository(self.model, self.weights)
        return hub_weights(found, parameter="victim.checkpoint=FILE") if found else ()

    def load(self, task: Task) -> Classifier:
        """Return the zero-shot classifier whose head is the prompts of the task's classes."""
        if not self.model:
            raise SpecError("open_clip needs a model; write open_clip:ARCH/TAG, such as open_clip:ViT-B-32/openai.")
        needed("open_clip", "open-clip-torch", "open_clip models")
        from robench_builtins.models.shared.open_clip_network import OpenClipRequest, build

        local = next(iter(self.files()), None)
        asked = OpenClipRequest(self.model, self.weights, local, self.quick_gelu, self.resolution)
        return build(asked, task, self.prompts(task))
