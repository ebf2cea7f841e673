"""CLIP RN50 through open_clip."""

from __future__ import annotations

from robench import parameter
from robench_builtins.models.clip_vit import PAPER
from robench_builtins.models.open_clip_model import OpenClip


class ClipRN50(OpenClip):
    """Load OpenAI's CLIP RN50 as a zero-shot classifier: 224 x 224, 38,316,896 parameters in the image tower.

    It is ``open_clip:RN50/openai``, built with QuickGELU. ``checkpoint`` is a state dict of it, such as
    open_clip_model.safetensors of huggingface.co/timm/resnet50_clip.openai.
    """

    name = "clip-rn50"
    source = PAPER
    licence = "MIT"
    # open_clip's table (docs/openclip_results.csv), with an ensemble of 18 templates; one template gives less, and
    # GELU in place of QuickGELU 35.22.
    reference = {"cifar10": 0.7157}
    reference_tolerance = 0.05

    model: str = parameter(default="RN50", help="architecture as open_clip names it")
    weights: str = parameter(default="openai", help="tag of the weights")
