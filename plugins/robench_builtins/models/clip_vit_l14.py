"""CLIP ViT-L/14 through transformers."""

from __future__ import annotations

from robench import parameter
from robench_builtins.models.shared.zero_shot import PAPER, ClipVit


class ClipVitL14(ClipVit):
    """Load OpenAI's CLIP ViT-L/14 as a zero-shot classifier: 224 x 224, 303,966,208 parameters in the image tower."""

    name = "clip-vit-l14"
    source = PAPER
    licence = "MIT"
    # open_clip's table (docs/openclip_results.csv), with an ensemble of 18 templates; one template gives less.
    reference = {"cifar10": 0.9559}
    reference_tolerance = 0.025

    checkpoint: str = parameter(
        default="openai/clip-vit-large-patch14", help="Hugging Face id or local folder of a CLIP checkpoint"
    )
