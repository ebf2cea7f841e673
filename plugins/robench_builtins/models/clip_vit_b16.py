"""CLIP ViT-B/16 through transformers."""

from __future__ import annotations

from robench import parameter
from robench_builtins.models.shared.zero_shot import PAPER, ClipVit


class ClipVitB16(ClipVit):
    """Load OpenAI's CLIP ViT-B/16 as a zero-shot classifier: 224 x 224, 86,192,640 parameters in the image tower."""

    name = "clip-vit-b16"
    source = PAPER
    licence = "MIT"
    # open_clip's table (docs/openclip_results.csv), with an ensemble of 18 templates; one template gives less.
    reference = {"cifar10": 0.9077}
    reference_tolerance = 0.025

    checkpoint: str = parameter(
        default="openai/clip-vit-base-patch16", help="Hugging Face id or local folder of a CLIP checkpoint"
    )
