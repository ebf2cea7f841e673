"""CLIP RN50 through open_clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robench import Task, parameter
from robench_builtins.downloads import hub_weights
from robench_builtins.models.shared.optional_dependencies import needed
from robench_builtins.models.shared.zero_shot import PAPER, ZeroShotModel

if TYPE_CHECKING:
    from robench import Classifier


class ClipRN50(ZeroShotModel):
    """Load OpenAI's CLIP RN50 as a zero-shot classifier: 224 x 224, 38,316,896 parameters in the image tower.

    It is ``open_clip:RN50/openai``, built with QuickGELU as it was trained.
    """

    name = "clip-rn50"
    source = PAPER
    licence = "MIT"
    # open_clip's table (docs/openclip_results.csv), with an ensemble of 18 templates; one template gives less, and
    # GELU in place of QuickGELU 35.22.
    reference = {"cifar10": 0.7157}
    reference_tolerance = 0.05

    checkpoint: str = parameter(
        default="",
        help="local state dict or folder, such as huggingface.co/timm/resnet50_clip.openai; empty: from the hub",
        path=True,
    )

    def files(self) -> tuple[Path, ...]:
        """Return the local weights, if some are named."""
        return (Path(self.checkpoint).expanduser(),) if self.checkpoint else ()

    def missing(self) -> tuple[str, ...]:
        """Return what to download, unless a checkpoint is named or the weights are in the hub's cache."""
        return () if self.checkpoint else hub_weights("timm/resnet50_clip.openai", "409 MB", "victim.checkpoint=FILE")

    def load(self, task: Task) -> Classifier:
        """Return the zero-shot classifier whose head is the prompts of the task's classes."""
        needed("open_clip", "open-clip-torch", self.name)
        from robench_builtins.models.shared.open_clip_network import OpenClipRequest, build

        asked = OpenClipRequest("RN50", "openai", next(iter(self.files()), None))
        return build(asked, task, self.prompts(task))
